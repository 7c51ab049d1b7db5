"""What goes wrong between a client and the API server, on purpose."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from aiohttp import web

from tests.kubernetes.emulator.errors import ApiError


@dataclass
class Fault:
    """For the next `times` requests whose path and query have the pattern in them."""

    method: str
    pattern: str
    times: int
    status: int = 0
    retry_after_seconds: int | None = None
    delay_seconds: float = 0.0
    lines: int | None = None

    async def strike(self) -> None:
        """Raises the ApiError that it stands for, if any."""
        await asyncio.sleep(self.delay_seconds)
        if self.status:
            after = self.retry_after_seconds
            headers = {} if after is None else {"Retry-After": str(after)}
            raise ApiError(self.status, "a fault of the emulator, on purpose", headers=headers)

    def hits(self, method: str, address: str) -> bool:
        return self.times > 0 and method == self.method and re.search(self.pattern, address) is not None


FAULT = web.RequestKey("fault", Fault)
"""Under which a request carries the one that struck it."""


class Faults:
    """Told from the test's thread, asked from the server's: a list that only grows and counters that only fall."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def fail(
        self, method: str, pattern: str, status: int, times: int = 1, retry_after_seconds: int | None = None
    ) -> None:
        """Answers so many requests with this status. `pattern`: a regular expression for path and query."""
        self._faults.append(Fault(method, pattern, times, status=status, retry_after_seconds=retry_after_seconds))

    def delay(self, method: str, pattern: str, seconds: float, times: int = 1) -> None:
        self._faults.append(Fault(method, pattern, times, delay_seconds=seconds))

    def cut_logs(self, lines: int, pattern: str = "/log", times: int = 1) -> None:
        """Cuts the connection after so many lines of a log."""
        self._faults.append(Fault("GET", pattern, times, lines=lines))

    def end(self) -> None:
        """All is well from now on."""
        self._faults = []

    def next(self, method: str, address: str) -> Fault | None:
        """The fault of this request, which is then used up; the one that was asked for first, if several fit."""
        found = next((fault for fault in self._faults if fault.hits(method, address)), None)
        if found:
            found.times -= 1
        return found
