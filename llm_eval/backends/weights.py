"""Where a model's files are and what they are: a local folder, or one commit of the Hugging Face hub."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from llm_eval.errors import InvalidData, MissingWeights
from llm_eval.fingerprint import fingerprint, sha256_hex
from llm_eval.settings import Settings, find
from llm_eval.specs import Checkpoint, ModelSpec, TransformersBackend

SMALL_FILE_BYTES = 1 << 20  # below this a file's content is hashed; above, size and modification time stand for it
HUB_SECONDS = 10.0

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS = (  # in the order in which transformers looks for them
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_TOKENIZER = re.compile(r"tokenizer.*\.json|.+\.model|vocab\..+|tokenization_.+\.py")


@dataclass(frozen=True, slots=True)
class Place:
    """Files of one model or tokenizer.

    address: what `from_pretrained` takes, a folder or a hub id. commit: of the hub; None for a folder.
    folder: where the files lie on this machine; None if they are still on the hub only. files: their names.
    """

    address: str
    commit: str | None
    folder: Path | None
    files: frozenset[str]

    def __str__(self) -> str:
        return f"{self.address}@{self.commit}" if self.commit else self.address


@dataclass(frozen=True, slots=True)
class Places:
    """The weights of a model, and its tokenizer where it lies elsewhere."""

    model: Place
    tokenizer: Place


def places(model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings) -> Places:
    """Where the weights and the tokenizer of `model` are. Raises MissingWeights if anything needed is not there."""
    spec = cast(TransformersBackend, model.backend)
    owner = f"model {model.name!r}" + (f", checkpoint {checkpoint.name!r}" if checkpoint else "")
    if checkpoint is not None:
        weights = _folder(checkpoint.path, owner, settings)
    else:
        weights = _locate(spec.path, spec.revision, owner, settings)
    _check_weights(weights, owner)
    tokenizer = _locate(spec.tokenizer_path, None, owner, settings) if spec.tokenizer_path else weights
    if not any(_TOKENIZER.fullmatch(name) for name in tokenizer.files):
        raise MissingWeights(
            f"{owner}: {tokenizer} holds no tokenizer (tokenizer.json, tokenizer.model, vocab.json, …). "
            "Save the tokenizer beside the weights, or name its folder as backend.tokenizer_path."
        )
    return Places(weights, tokenizer)


def identity(place: Place) -> str:
    """The hub commit; for a folder a fingerprint of its files, other after any of them was written again.

    Counts the files directly in the folder: what lies deeper (a trainer's other checkpoints) is not loaded.
    """
    if place.commit is not None or place.folder is None:
        return str(place)
    return fingerprint([_file_identity(place.folder / name) for name in sorted(place.files)])


def _file_identity(path: Path) -> list[str | int]:
    stat = path.stat()
    content = sha256_hex(path.read_bytes()) if stat.st_size < SMALL_FILE_BYTES else ""
    return [path.name, stat.st_size, stat.st_mtime_ns, content]


def _locate(path: str, revision: str | None, owner: str, settings: Settings) -> Place:
    """A folder of that name where there is one, else the hub's repository. Raises MissingWeights."""
    if find(path, settings.models) is not None or not _HUB_ID.fullmatch(path):
        return _folder(path, owner, settings)
    return _on_hub(
        path, revision or "main", f"{owner}: there is no folder {path!r} (looked at {_looked(path, settings)}), and"
    )


def _folder(path: str, owner: str, settings: Settings) -> Place:
    found = find(path, settings.models)
    if found is None:
        raise MissingWeights(
            f"{owner}: there is no folder {path!r}, and it is not a hub id of the form organisation/name. "
            f"Looked at: {_looked(path, settings)}. Fix the path, or set LLM_EVAL_MODELS to the folder that holds it."
        )
    if not found.is_dir():
        raise MissingWeights(f"{owner}: {found} is a file; a folder with config.json and weights is needed")
    return Place(str(found), None, found, _names(found))


def _looked(path: str, settings: Settings) -> str:
    return path if Path(path).is_absolute() else ", ".join(str(f / path) for f in settings.models) or "nowhere"


def _names(folder: Path) -> frozenset[str]:
    return frozenset(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _on_hub(name: str, revision: str, preamble: str) -> Place:
    """The commit that `revision` stands for now; without a network, the one that the local cache knows it as."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS)
    except GatedRepoError as error:
        raise MissingWeights(
            f"{preamble} the hub's repository {name!r} is gated. Accept its licence there and set HF_TOKEN in the "
            "worker's environment."
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingWeights(
            f"{preamble} the hub has no repository {name!r} that HF_TOKEN may see. Check backend.path, or set "
            "LLM_EVAL_MODELS to the folder that holds it."
        ) from error
    except RevisionNotFoundError as error:
        raise MissingWeights(
            f"{preamble} the hub's repository {name!r} has no revision {revision!r}. Check backend.revision."
        ) from error
    except Exception as error:  # no route, no name service, offline mode, a server error: all mean the same here
        cached = _in_cache(name, revision)
        if cached is None:
            raise MissingWeights(
                f"{preamble} the hub cannot be reached ({type(error).__name__}); its local cache has no revision "
                f"{revision!r} of it. Run `hf download {name} --revision {revision}` where there is a network, "
                "or set LLM_EVAL_MODELS to the folder that holds it."
            ) from error
        return cached
    files = frozenset(file.rfilename for file in info.siblings or () if "/" not in file.rfilename)
    return Place(name, info.sha, None, files)


def _in_cache(name: str, revision: str) -> Place | None:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    snapshot = Path(config).parent
    return Place(name, snapshot.name, snapshot, _names(snapshot))


def _check_weights(place: Place, owner: str) -> None:
    if "config.json" not in place.files:
        hint = (
            " It holds an adapter: merge it into its base model first." if "adapter_config.json" in place.files else ""
        )
        raise MissingWeights(f"{owner}: {place} has no config.json, so it is not a transformers model.{hint}")
    loaded = next((name for name in _WEIGHTS if name in place.files), None)
    if loaded is None:
        raise MissingWeights(
            f"{owner}: {place} has no weights ({' or '.join(_WEIGHTS)}). Was the download or the checkpoint cut short? "
            "Fetch it again."
        )
    if loaded.endswith(".index.json") and place.folder is not None:
        absent = sorted(_shards(place.folder / loaded) - place.files)
        if absent:
            raise MissingWeights(
                f"{owner}: {place.folder / loaded} names weight files that are not there: {', '.join(absent)}. "
                "Was the download or the checkpoint cut short? Fetch it again."
            )


def _shards(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InvalidData(f"{index}: not a readable index of weight files ({error}). Fetch it again.") from error
