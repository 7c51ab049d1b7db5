"""Whether the weights fit the memory of their device: told from their files, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llm_eval.backends import weight_files
from llm_eval.backends.places import Place
from llm_eval.backends.transformers import config
from llm_eval.backends.transformers.devices import Device
from llm_eval.backends.transformers.free_memory import free_bytes
from llm_eval.backends.weight_files import ADAPTER_WEIGHTS, Stored
from llm_eval.backends.weights import Places, weights_of
from llm_eval.errors import InputError
from llm_eval.specs import TransformersBackend

GIB = 1 << 30

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_FLOATING = frozenset({"F64", "F32", "F16", "BF16"})  # what loading converts; the rest stays as it is stored
_BESIDE = GIB // 4  # what the first forward pass needs at the very least


def check(found: Places, spec: TransformersBackend, device: Device, owner: str) -> None:
    """Raises InputError, with the figures, for weights that loading would run out of memory with.

    Nothing is said of weights that are still on the hub.
    """
    if found.model.folder is None:
        return
    values = config.read(found.model, "config.json", owner) or {}
    dtype = config.dtype(values) if spec.dtype == "auto" else spec.dtype
    needed = needed_bytes(found.model, None if config.quantisation(values) else dtype, config.dtype(values), owner)
    if found.adapter is not None and found.adapter.folder is not None:
        needed += sum(t.bytes for t in weight_files.read(found.adapter.folder, ADAPTER_WEIGHTS, owner).values())
    free = sum(free_bytes(one) for one in _devices(device))
    if needed + _BESIDE > free:
        where = {"cpu": "this machine", None: "the GPUs and this machine together"}.get(device.name, device.name)
        raise InputError(
            f"{owner}: the weights of {found.model} take {needed / GIB:.1f} GiB as {dtype or 'they are stored'}, and "
            f"{where} has {free / GIB:.1f} GiB free. Choose a smaller backend.dtype, device_map: auto where there are "
            "several GPUs, a device with more memory, or fewer shards at a time."
        )


def needed_bytes(place: Place, dtype: str | None, config_dtype: str | None, owner: str) -> int:
    """Memory of the weights once loaded as `dtype`; None: as they are stored."""
    file = weights_of(place)
    if place.folder is None or file is None:
        return 0
    tensors = weight_files.read(place.folder, file, owner)
    if tensors:
        return _as(tensors.values(), dtype)
    stored = sum((place.folder / name).stat().st_size for name in place.files if name.startswith("pytorch_model"))
    return stored * _BYTES.get(dtype or "", 1) // _BYTES.get(config_dtype or dtype or "", 1)


def _as(tensors: Iterable[Stored], dtype: str | None) -> int:
    size = _BYTES.get(dtype or "")
    return sum(t.bytes if size is None or t.dtype not in _FLOATING else size * t.numbers for t in tensors)


def _devices(device: Device) -> list[Any]:
    """As torch has them; all that device_map may use, if it decides."""
    import torch

    if device.name is not None:
        return [torch.device(device.name)]
    return [*(torch.device("cuda", i) for i in range(torch.cuda.device_count())), torch.device("cpu")]
