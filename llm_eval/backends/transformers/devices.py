"""Which device a model goes to, and whether it is there."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from llm_eval.backends.transformers.leases import Lease, lease
from llm_eval.errors import InputError
from llm_eval.specs import TransformersBackend

logger = logging.getLogger(__name__)


class Device(NamedTuple):
    """name: cpu or cuda:0, …; None where device_map decides. lease: None on the CPU."""

    name: str | None
    lease: Lease | None


def chosen(spec: TransformersBackend, owner: str) -> Device:
    """The device that `backend.device` means here; auto: a GPU that no other process of this machine has taken.

    Raises InputError if it is not there.
    """
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if spec.device_map is not None:
        return Device(None, None)
    if spec.device == "cpu" or (spec.device == "auto" and not there):
        return Device("cpu", None)
    asked = None if spec.device == "auto" else int(spec.device.partition(":")[2] or 0)
    if asked is not None and asked >= there:
        raise InputError(
            f"{owner}: backend.device is {spec.device!r}, but torch {torch.__version__} sees {there} CUDA device(s). "
            "Set `device: auto`, run where there is a GPU, or install a torch built for CUDA."
        )
    numbers = list(range(there)) if asked is None else [asked]
    names = [_name(torch.cuda.get_device_properties(number), number) for number in numbers]
    return _leased(numbers, names, Path(tempfile.gettempdir()))


def _leased(numbers: list[int], names: list[str], folder: Path) -> Device:
    try:
        taken = lease(names, folder)
    except OSError as error:
        logger.warning("GPUs cannot be shared out between processes (%s): taking number %d", error, numbers[0])
        return Device(f"cuda:{numbers[0]}", None)
    device = f"cuda:{numbers[taken.index]}"
    if taken.others:
        logger.warning(
            "every GPU that this process may use (%s) is taken: sharing %s with %d other process(es). Fewer shards at "
            "a time would be faster",
            ", ".join(map(str, numbers)),
            device,
            taken.others,
        )
    else:
        logger.info("taking %s, one of %d", device, len(numbers))
    return Device(device, taken)


def _name(properties: Any, number: int) -> str:
    """What the GPU is called on the whole machine, whatever CUDA_VISIBLE_DEVICES says."""
    return str(getattr(properties, "uuid", number))
