"""What a container has said, line by line with its times, and which part of it a request asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.kubernetes.emulator.bell import Bell
from tests.kubernetes.emulator.times import in_logs, now

LOOK_SECONDS = 5.0


class Line(NamedTuple):
    at: datetime
    text: bytes

    def render(self, *, timestamps: bool) -> bytes:
        return (in_logs(self.at).encode() + b" " if timestamps else b"") + self.text + b"\n"


class Log:
    """Of one start of a container."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.is_complete = False
        self._begun = b""
        self._bell = Bell()

    def feed(self, chunk: bytes) -> None:
        *whole, self._begun = (self._begun + chunk).split(b"\n")
        self.lines += [Line(now(), text) for text in whole]
        self._bell.ring()

    def complete(self) -> None:
        if self._begun:
            self.feed(b"\n")
        self.is_complete = True
        self._bell.ring()

    def last_words(self, lines: int, size_bytes: int) -> str:
        return b"\n".join(line.text for line in self.lines[-lines:])[-size_bytes:].decode(errors="replace")

    async def read(self, wish: LogWish) -> AsyncIterator[bytes]:
        """Lines as they go over the wire; to the end of the container, if they are to be followed."""
        at = wish.first(self.lines)
        while True:
            while at < len(self.lines):
                yield self.lines[at].render(timestamps=wish.timestamps)
                at += 1
            if self.is_complete or not wish.follow:
                return
            await self._bell.heard(LOOK_SECONDS)


@dataclass(frozen=True)
class LogWish:
    """The query of a request for logs."""

    follow: bool
    timestamps: bool
    previous: bool
    since_seconds: int | None
    tail_lines: int | None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> LogWish:
        since, tail = query.get("sinceSeconds"), query.get("tailLines")
        return cls(
            follow=is_true(query, "follow"),
            timestamps=is_true(query, "timestamps"),
            previous=is_true(query, "previous"),
            since_seconds=None if since is None else int(since),
            tail_lines=None if tail is None else int(tail),
        )

    def first(self, lines: list[Line]) -> int:
        """The index of the first line that is asked for."""
        first = 0 if self.tail_lines is None else max(0, len(lines) - self.tail_lines)
        if self.since_seconds is None:
            return first
        since = now() - timedelta(seconds=self.since_seconds)
        return max(first, next((i for i, line in enumerate(lines) if line.at >= since), len(lines)))


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Python's clients write True, others true or 1."""
    return query.get(name, "").lower() in ("true", "1")
