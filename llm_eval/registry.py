"""Named functions: the only way for YAML to reach logic. One `Registry` per kind of thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from llm_eval.errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to things of one kind; a second registration of a name is a programming error."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice: {self._entries[name]!r} and {entry!r}")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`."""
        return lambda entry: self.add(name, entry)

    def get(self, name: str, where: str = "") -> T:
        """The entry called `name`. Raises UnknownName, with `where` (a file, a flag) as its hint."""
        if name not in self._entries:
            raise UnknownName(self.kind, name, self._entries, hint=where)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))
