"""How fast a server is asked: as its limits allow, and slower while it says that it is too fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LOOK_AGAIN_SECONDS = 1.0


class Rate:
    """So many units a minute, evenly: units that are not used are saved up for at most `burst_seconds`.

    What is taken may exceed what there is; those who come next wait until it is paid back, in the order they came.
    `sharers`: among how many the rate is divided at the moment.
    """

    def __init__(
        self,
        per_minute: float | None,
        sharers: Callable[[], int] = lambda: 1,
        burst_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._all_per_second = None if per_minute is None else per_minute / 60
        self._sharers, self._burst_seconds, self._clock = sharers, burst_seconds, clock
        self._there = 0.0 if per_minute is None else self._per_second * burst_seconds
        self._at = clock()
        self._turn = asyncio.Lock()

    async def wait(self, units: float) -> None:
        """Until it is one's turn to use so many units."""
        if self._all_per_second is None:
            return
        async with self._turn:
            while (pause := self.pause()) > 0:
                await asyncio.sleep(min(pause, LOOK_AGAIN_SECONDS))  # those one shares with come and go
            self.take(units)

    def pause(self) -> float:
        """Seconds until something may be taken, as things are."""
        now, rate = self._clock(), self._per_second
        self._there = min(self._there + (now - self._at) * rate, rate * self._burst_seconds)
        self._at = now
        return max(0.0, -self._there / rate)

    def take(self, units: float) -> None:
        self._there -= units

    @property
    def _per_second(self) -> float:
        assert self._all_per_second is not None  # who has no limit is not asked for one
        return self._all_per_second / self._sharers()


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
