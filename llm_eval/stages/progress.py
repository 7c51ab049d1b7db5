"""Progress of long work: a bar on a terminal, a plain log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0


class Progress:
    """Counts steps towards `total`; also shows tokens per second where `advance` is told of tokens."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total = label, total
        self.done = self.tokens = 0
        self._started = self._last_line = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
            tail = (TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
            self._bar = Bar(*columns, *tail, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.total, speed="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, tokens: int = 0) -> None:
        self.done += 1
        self.tokens += tokens
        now = time.monotonic()
        speed = f"{self.tokens / max(now - self._started, 1e-6):,.0f} tokens/s" if self.tokens else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, speed=speed)
        elif now - self._last_line >= LINE_SECONDS:
            left = (self.total - self.done) * (now - self._started) / self.done
            logger.info("%s: %d of %d, %s, about %.0f s left", self.label, self.done, self.total, speed, left)
            self._last_line = now
