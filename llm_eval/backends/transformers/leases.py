"""One GPU for each process of this machine: who comes first takes the first free one.

A lease is a locked file, which the kernel unlocks when its process dies, however it does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path


class Lease:
    """A GPU, number `index` of those that were offered. `others`: processes that were there before."""

    def __init__(self, index: int, others: int, lock: int) -> None:
        self.index = index
        self.others = others
        self._lock: int | None = lock

    def release(self) -> None:
        """Leave it to the next process; a second call does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def lease(gpus: Sequence[str], folder: Path) -> Lease:
    """A GPU that nobody else has; where all are taken, one that is shared with as few as possible.

    gpus: what each is called on the whole machine (a UUID: numbers depend on CUDA_VISIBLE_DEVICES), at least one.
    folder: the same for all processes that share these GPUs. Raises OSError if no file can be made there.
    """
    names = [re.sub(r"[^\w-]", "-", gpu) for gpu in gpus]
    others = 0
    while True:  # ends: some file is not locked yet
        for index, name in enumerate(names):
            lock = _locked(folder / f"llm-eval-gpu-{name}-{others}.lock")
            if lock is not None:
                return Lease(index, others, lock)
        others += 1


def _locked(path: Path) -> int | None:
    """The open file, or None if another process has locked it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except PermissionError:  # another user's file in a sticky folder may be opened, but not with O_CREAT
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise
    return file
