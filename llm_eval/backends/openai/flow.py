"""How fast a server is asked: as its limits allow, and slower while it says that it is too fast."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable


class Rate:
    """So many units a minute, evenly: units that are not used are saved up for at most `burst_seconds`.

    What is taken may exceed what there is; those who come next wait until it is paid back, in the order they came.
    """

    def __init__(
        self, per_minute: float | None, burst_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = math.inf if per_minute is None else per_minute / 60
        self._burst_seconds, self._clock = burst_seconds, clock
        self._free_at = -math.inf  # the moment at which all that was taken is paid back

    def take(self, units: float) -> float:
        """Take them now; returns the seconds to wait before using them."""
        if self._per_second == math.inf:
            return 0.0
        now = self._clock()
        starts = max(self._free_at, now - self._burst_seconds)
        self._free_at = starts + units / self._per_second
        return max(0.0, starts - now)


class Window:
    """How many requests are in flight: one more for each full window that was answered, half when told to slow down.

    Additive increase, multiplicative decrease (Chiu & Jain 1989), as TCP does. A refusal of a request that was sent
    before the last halving changes nothing: it is the same congestion.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, float(most)
        self._in_flight = 0
        self._halvings = 0
        self._changed = asyncio.Condition()

    @property
    def size(self) -> int:
        return max(1, int(self._size))

    async def enter(self) -> int:
        """Wait for a place; returns what `leave` wants back."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._in_flight < self.size)
            self._in_flight += 1
            return self._halvings

    async def leave(self, entered: int, *, refused: bool) -> None:
        """Give the place back. `refused`: the server said that it is asked too much."""
        async with self._changed:
            self._in_flight -= 1
            if not refused:
                self._size = min(self._most, self._size + 1 / self._size)
            elif entered == self._halvings:
                self._size = max(1.0, self._size / 2)
                self._halvings += 1
            self._changed.notify_all()
