"""Lets coroutines of one event loop wait for a change, and whoever makes it tell them without waiting."""

from __future__ import annotations

import asyncio


class Bell:
    """Look first, then wait: nothing is lost as long as there is no `await` between the two."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def heard(self, seconds: float) -> bool:
        """Whether it rang within so many seconds."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        done, _ = await asyncio.wait([mine], timeout=seconds)
        if not done:
            mine.cancel()
        return bool(done)
