"""Named functions: the only way for YAML to reach logic. One `Registry` per kind of thing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from llm_eval.errors import InvalidSpec, UnknownName

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


def check_options(what: str, function: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    """Raises InvalidSpec unless `options` fit the keyword-only parameters of `function`: known, complete, well typed.

    `what` names the thing in messages ("metric 'bleu'"), `where` says who asked for it. Types are strict: a number that
    YAML reads as text, such as 1e-6, is refused instead of failing after the model has answered.
    """
    known = {p.name: p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    listed = f"Options: {', '.join(known) or 'none'}."
    if unknown := [name for name in options if name not in known]:
        raise InvalidSpec(f"{where}: {what} has no option {unknown[0]!r}. {listed}")
    if missing := [n for n, p in known.items() if p.default is p.empty and n not in options]:
        raise InvalidSpec(f"{where}: {what} needs the option {missing[0]!r}. {listed}")
    hints = get_type_hints(function, include_extras=True)
    for name, value in options.items():
        try:
            TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            reasons = "; ".join(e["msg"] for e in error.errors())
            raise InvalidSpec(f"{where}: {what}, option {name!r} is {value!r}. {reasons}.") from error
