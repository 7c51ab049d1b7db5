"""Batches that shrink when a device's memory is full."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from llm_eval.errors import BackendLost

logger = logging.getLogger(__name__)

R = TypeVar("R")
A = TypeVar("A")

_FULL = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device's memory was full; only CUDA's own allocator has a type for it."""
    import torch

    full = isinstance(error, RuntimeError) and any(sign in str(error) for sign in _FULL)
    return full or isinstance(error, torch.OutOfMemoryError | MemoryError)


class Batch(NamedTuple, Generic[R, A]):
    """answers: in the order of `rows`; None if a lone row does not fit the memory. seconds: wall time of the batch."""

    rows: list[R]
    answers: list[A] | None
    seconds: float


class Batcher:
    """Cuts rows into batches of at most `size`; once memory was full, `size` stays smaller."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(
        self, rows: Sequence[R], length: Callable[[R], int], work: Callable[[list[R]], list[A]]
    ) -> Iterator[Batch[R, A]]:
        """Longest rows first, so that a batch pads little and the largest comes first; each row in exactly one batch.

        Raises BackendLost if the accelerator fails otherwise than by its memory.
        """
        waiting = sorted(rows, key=length, reverse=True)
        while waiting:
            batch = waiting[: self.size]
            begun = time.perf_counter()
            answers = _tried(work, batch)
            if answers is None and len(batch) > 1:
                self.size = len(batch) // 2
                logger.warning("out of memory with %d rows at once, going on with %d", len(batch), self.size)
                continue
            waiting = waiting[len(batch) :]
            yield Batch(batch, answers, time.perf_counter() - begun)


def _tried(work: Callable[[list[R]], list[A]], batch: list[R]) -> list[A] | None:
    """None if the memory was full. A function of its own: the traceback holds tensors, and is gone after it."""
    import torch

    try:
        return work(batch)
    except torch.AcceleratorError as error:
        raise BackendLost(f"the accelerator failed: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
