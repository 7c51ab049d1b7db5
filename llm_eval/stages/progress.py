"""Progress of answering: a bar on a terminal, a plain log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from llm_eval.records import Request, Response
from llm_eval.stages.effort import Effort

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0


class Progress:
    """Counts responses, tokens per second and the time left, as responses come."""

    def __init__(self, label: str, requests: Sequence[Request], attempts: int) -> None:
        self._label, self._attempts = label, attempts
        self._total = self._characters_left = 0
        self._sizes: dict[str, int] = {}
        self.expect(requests)
        self._done = self._characters_done = 0
        self._effort = Effort()
        self._started = self._last_line = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
            said = TextColumn("{task.fields[said]}")
            self._bar = Bar(*columns, said, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._label, total=self._total, said="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def expect(self, requests: Sequence[Request]) -> None:
        """There is more to ask than was known at the start."""
        sizes = {request.id: _characters(request) for request in requests}
        self._sizes |= sizes
        self._total += len(sizes) * self._attempts
        self._characters_left += sum(sizes.values()) * self._attempts

    def advance(self, response: Response) -> None:
        self._done += 1
        self._effort.add(response)
        self._characters_done += self._sizes[response.request_id]
        self._characters_left -= self._sizes[response.request_id]
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, said=self._said(now - self._started))
        elif now - self._last_line >= LINE_SECONDS:
            said = self._said(now - self._started)
            logger.info("%s: %d of %d, %s", self._label, self._done, self._total, said)
            self._last_line = now

    def _said(self, elapsed: float) -> str:
        """Such as "prefill 9,800 tokens/s, decode 640 tokens/s, 78% of prompt tokens reused, 0:01:15 left"."""
        effort, said = self._effort, []
        if effort.prefill_tokens_per_second is not None:
            said.append(f"prefill {effort.prefill_tokens_per_second:,.0f} tokens/s")
        if effort.decode_tokens_per_second is not None:
            said.append(f"decode {effort.decode_tokens_per_second:,.0f} tokens/s")
        tokens = effort.input_tokens + effort.output_tokens
        if not said and tokens:
            said.append(f"{tokens / max(elapsed, 1e-6):,.0f} tokens/s")
        if effort.prefix_reuse_fraction:
            said.append(f"{effort.prefix_reuse_fraction:.0%} of prompt tokens reused")
        return ", ".join([*said, f"{timedelta(seconds=round(self._seconds_left(elapsed)))} left"])

    def _seconds_left(self, elapsed: float) -> float:
        """Reading takes time by the length of what is asked, writing by the number of answers.

        Only the backend knows the parts of either; where it does not say, all requests count the same.
        """
        effort, left = self._effort, self._total - self._done
        if effort.prefill_seconds <= 0:
            return elapsed / self._done * left
        reading = effort.prefill_seconds / self._characters_done * self._characters_left
        return reading + (effort.seconds - effort.prefill_seconds) / self._done * left


def _characters(request: Request) -> int:
    """Length of the question itself: examples before it are shared, or much the same for every question."""
    turns = sum(len(message.content) for message in request.messages or ())
    return len(request.text or "") + turns + sum(map(len, request.continuations)) + 1
