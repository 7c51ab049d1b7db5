"""Responses on disk within seconds, as numbered parts that are each complete or absent."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Collection
from types import TracebackType
from typing import Self

from llm_eval import layout, storage, tables
from llm_eval.errors import StorageError
from llm_eval.layout import Shard
from llm_eval.records import Response

logger = logging.getLogger(__name__)

PART_SECONDS = 5.0
PART_ROWS = 500


class PartWriter:
    """Collects responses; a thread writes them every few seconds, also while the next answer is long in coming.

    The files' names begin with `name`, which no other writer has. outdated: files that these ones replace.
    """

    def __init__(self, folder: str, shard: Shard, outdated: Collection[str] = ()) -> None:
        # Names sort by the time their writer began: what was asked again, by force, comes after what it replaces, also
        # where this machine's clock is behind another's.
        newest = max((int(name.split("-")[1]) for name in outdated if name.startswith("part-")), default=0)
        began, writer = max(time.time_ns() // 1_000_000, newest + 1), uuid.uuid4().hex[:8]
        self._folder = folder
        self.name = f"part-{began:013d}-{writer}-{shard.index}of{shard.count}"
        self._prefix = layout.join(folder, self.name)
        self._rows: list[Response] = []
        self._chunk = 0
        self._is_sealed = False
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._write_now_and_then, name="parts", daemon=True)

    def __enter__(self) -> Self:
        storage.make_folder(self._folder)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Also on SIGTERM, Ctrl-C and a lost backend: what was answered stays answered."""
        self._closed.set()
        self.flush()

    def add(self, response: Response) -> None:
        with self._lock:
            if not (is_sealed := self._is_sealed):
                self._rows.append(response)
            is_full = len(self._rows) >= PART_ROWS
        if is_sealed:
            threading.Event().wait()  # until the process has ended, or Ctrl-C unwinds this thread
        if is_full:
            self.flush()

    def flush(self) -> None:
        """Write what there is, from any thread. Whatever interrupts it, the next call writes the same part again."""
        with self._lock:
            self._write()

    def seal(self) -> None:
        """Write what there is as the process is about to end: what comes later waits, so that nothing more is asked."""
        with self._lock:
            self._is_sealed = True
            self._write()

    def _write(self) -> None:
        if self._rows:
            tables.write(f"{self._prefix}-{self._chunk:05d}.parquet", Response, self._rows, into_existing=True)
            self._chunk += 1
            self._rows = []

    def _write_now_and_then(self) -> None:
        while not self._closed.wait(PART_SECONDS):
            try:
                self.flush()
            except StorageError as error:
                logger.warning("%s Trying again in %g s.", error, PART_SECONDS)
