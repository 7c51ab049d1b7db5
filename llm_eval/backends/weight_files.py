"""Weight files as they lie on disk: what their headers promise, and whether the files hold it. Nothing is loaded.

Source of the format: https://huggingface.co/docs/safetensors, an 8-byte length, a JSON header, then the tensors.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import NamedTuple

from llm_eval.errors import InvalidData

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS = (  # in the order in which transformers looks for them
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
AGAIN = "Was the download or the checkpoint cut short? Fetch or copy it again."

_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000  # as the safetensors library has it


class Stored(NamedTuple):
    """One tensor of a file. dtype: in safetensors' words, such as BF16."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


def weight_map(index: Path, owner: str) -> dict[str, str]:
    """Tensor → name of the file that holds it. Raises InvalidData if that cannot be read."""
    try:
        return {str(k): str(v) for k, v in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InvalidData(f"{owner}: {index} is not a readable index of weight files ({error}). {AGAIN}") from error


def read(folder: Path, file: str, owner: str) -> dict[str, Stored]:
    """The tensors of `file`, one of WEIGHTS or an adapter's, in all its shards; {} where that cannot be told.

    Raises InvalidData if a safetensors file is not as long as its header says, or lacks a tensor of the index.
    """
    if not file.endswith(".index.json"):
        return _header(folder / file, owner) if file.endswith(".safetensors") else {}
    if not file.startswith("model.safetensors"):
        return {}
    found: dict[str, Stored] = {}
    promised = weight_map(folder / file, owner)
    for shard in sorted(set(promised.values())):
        tensors = _header(folder / shard, owner)
        absent = sorted(name for name, held_by in promised.items() if held_by == shard and name not in tensors)
        if absent:
            raise InvalidData(f"{owner}: {folder / shard} lacks {absent[0]}, which {file} says it holds. {AGAIN}")
        found |= tensors
    return found


def why_incomplete(folder: Path) -> str | None:
    """Why a folder is no whole model or adapter (yet), from its files alone; None if nothing is missing."""
    names = (*WEIGHTS, ADAPTER_WEIGHTS)
    file = next((name for name in names if (folder / name).is_file()), None)
    if not any((folder / name).is_file() for name in ("config.json", ADAPTER_CONFIG)):
        return f"it has no config.json and no {ADAPTER_CONFIG}"
    if file is None:
        return f"it has no weights ({' or '.join(names)})"
    try:
        parts = set(weight_map(folder / file, "").values()) if file.endswith(".index.json") else {file}
        if absent := sorted(part for part in parts if not (folder / part).is_file()):
            return f"{file} names {absent[0]}, which is not there"
        read(folder, file, "")
    except InvalidData as error:
        return str(error).removeprefix(": ")
    # A pickle is a zip archive, whose table of contents is written last.
    cut = sorted(part for part in parts if part.endswith(".bin") and not zipfile.is_zipfile(folder / part))
    return f"{cut[0]} is cut short, or not written by torch.save" if cut else None


def _header(path: Path, owner: str) -> dict[str, Stored]:
    """The tensors of a safetensors file. Raises InvalidData if there are more or fewer bytes than it says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            text = file.read(min(length, _LARGEST_HEADER))
        entries = {name: entry for name, entry in json.loads(text).items() if name != "__metadata__"}
        tensors = {name: _stored(entry) for name, entry in entries.items()}
        whole = _LENGTH_BYTES + length + max((int(e["data_offsets"][1]) for e in entries.values()), default=0)
    except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise InvalidData(
            f"{owner}: {path} has no readable safetensors header ({error}): corrupt or half-written. {AGAIN}"
        ) from error
    if size != whole:
        raise InvalidData(f"{owner}: {path} is half-written: {size} bytes, where its header promises {whole}. {AGAIN}")
    return tensors


def _stored(entry: dict[str, list[int]]) -> Stored:
    begin, end = entry["data_offsets"]
    return Stored(str(entry["dtype"]), tuple(entry["shape"]), end - begin)
