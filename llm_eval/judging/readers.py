"""Finding the verdict in what a judge wrote. Nothing is guessed: what is not surely a verdict is unreadable.

A reader is one function: the judge's reply → a text (a label, a number), a mapping (dimensions) or a list (a ranking).
It raises Unreadable with a reason that the judge itself can understand, because it is asked again with it.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llm_eval.errors import InvalidSpec
from llm_eval.registry import Registry, check_options
from llm_eval.specs import NamedCall

Raw = str | Mapping[str, Any] | Sequence[Any]


class Unreadable(Exception):
    """`str(error)` says what is wrong with the verdict, as one would tell its author."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A registered reader. version: raise it when the same reply would be read otherwise; part of the fingerprint."""

    name: str
    function: Callable[..., Raw]
    version: int


READERS: Registry[Reader] = Registry("reader of verdicts")
_MODULES = ("published_readers",)
TAG = r"\[\[([^\[\]]+)\]\]"
BROKEN, TIMES = 1000, 5
"""So many JSON objects of a reply may be broken, and so many times its length may be read in vain."""
SHOWN = 60
"""Characters of a reply that a reason quotes: a judge that writes a megabyte does not get it back."""


def reader(name: str, *, version: int = 1) -> Callable[[Callable[..., Raw]], Callable[..., Raw]]:
    """Register the decorated function as reader `name`."""

    def add(function: Callable[..., Raw]) -> Callable[..., Raw]:
        READERS.add(name, Reader(name, function, version))
        return function

    return add


def get_reader(name: str, where: str = "") -> Reader:
    """The reader called `name`. Raises UnknownName."""
    _load()
    return READERS.get(name, where)


@cache
def _load() -> None:
    for module in _MODULES:
        importlib.import_module(f"llm_eval.judging.{module}")


def check_readers(chain: Sequence[NamedCall], where: str) -> None:
    """Raises InputError for unknown readers, options that do not fit, and patterns that do not compile."""
    for call in chain:
        found = get_reader(call.name, where)
        check_options(f"reader {call.name!r}", found.function, call.options, where)
        try:
            found.function("", **call.options)
        except Unreadable:
            pass
        except re.error as error:
            raise InvalidSpec(f"{where}: reader {call.name!r}: the pattern does not compile: {error}") from error
        except InvalidSpec as error:
            raise InvalidSpec(f"{where}: reader {call.name!r}: {error}") from error


def read_verdict(reply: str, chain: Sequence[NamedCall]) -> Raw:
    """What the first reader that finds a verdict finds. Raises Unreadable with the first one's reason.

    What stands before the last `</think>` is thought, not said; a thought that never ends holds no verdict.
    """
    said = reply.rpartition("</think>")[2]
    if "<think>" in said:
        raise Unreadable("the reply was cut off while you were still thinking")
    if not said.strip():
        raise Unreadable("the reply is empty")
    reasons = []
    for call in chain:
        try:
            found: Raw = get_reader(call.name).function(said, **call.options)
        except Unreadable as unreadable:
            reasons.append(unreadable)
        else:
            return found
    raise reasons[0]


@reader("last_tag")
def last_tag(reply: str, *, pattern: str = TAG, unique: bool = False) -> str:
    """The pattern's group where it matches last: `[[A]]`, `Rating: [[7]]`. unique: several different ones are none."""
    compiled = re.compile(pattern)
    if compiled.groups > 1:
        raise InvalidSpec(f"the pattern {pattern!r} has {compiled.groups} groups; one is the verdict, others are (?:…)")
    found = [match.strip() for match in compiled.findall(reply) if match.strip()]
    if not found:
        raise Unreadable("it has no verdict in the form asked for")
    if unique and len(set(found)) > 1:
        raise Unreadable(f"it has several different verdicts: {quoted(', '.join(dict.fromkeys(found)))}")
    return str(found[-1])


def quoted(text: str) -> str:
    """A piece of a reply as reasons show it."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


@reader("whole_reply")
def whole_reply(reply: str) -> str:
    """The whole reply, without blanks, quotes, and markdown's or a sentence's marks around it: `**B**.` is B."""
    return _bare(reply)


@reader("last_line")
def last_line(reply: str, *, prefix: str = "") -> str:
    """The last line that is not blank, which begins with `prefix` where one is given; without it and marks around."""
    lines = [line.strip().strip("*_` ") for line in reply.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if not last.lower().startswith(prefix.lower()):
        raise Unreadable(f"its last line does not begin with {prefix!r}")
    return _bare(last[len(prefix) :])


_MARKS = "\"'`*_。:：()（）[] \t\r\n"


def _bare(text: str) -> str:
    said = text.strip(_MARKS).rstrip(_MARKS + ".")  # no point in front: .5 is not 5
    if not said:
        raise Unreadable("it has no verdict")
    return said


@reader("json_verdict")
def json_verdict(reply: str, *, key: str | None = None) -> Raw:
    """The last JSON object of the reply, or its value of `key`. Keys beside it are not looked at."""
    found = _last_object(reply)
    if found is None:
        raise Unreadable("it has no JSON object")
    if key is None and "verdict" in found:
        key = "verdict"
    if key is None:
        return found
    if key not in found:
        raise Unreadable(f"the JSON object has no {key!r}")
    value = found[key]
    if isinstance(value, bool) or value is None:
        raise Unreadable(f"{key!r} is {json.dumps(value)}")
    return value if isinstance(value, str) else value if isinstance(value, list | dict) else str(value)


@reader("last_dictionary")
def last_dictionary(reply: str) -> Mapping[str, Any]:
    """The last {…} without braces inside it: JSON, or 'key': number pairs in any quotes, separated by commas."""
    blocks = re.findall(r"\{([^{}]*)\}", reply)
    if not blocks:
        raise Unreadable("it has no dictionary {…}")
    try:
        found = json.loads("{" + blocks[-1] + "}", object_pairs_hook=_without_repeats)
    except ValueError:
        found = _without_repeats([_pair(part) for part in re.split(r"[,，]", blocks[-1]) if part.strip()])
    return dict(found)


_QUOTES = "'\"‘’“”"


def _pair(text: str) -> tuple[str, str]:
    key, *rest = (part.strip().strip(_QUOTES).strip() for part in re.split(r"[:：]", text))
    if len(rest) != 1 or not key or not rest[0]:
        raise Unreadable(f"{quoted(text.strip())} in its dictionary is no pair of a name and a number")
    return key, rest[0]


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise Unreadable(f"{quoted(key)} stands twice in its dictionary")
        found[key] = value
    return found


_OBJECT = re.compile(r'\{(?=\s*["}])')


def _last_object(text: str) -> dict[str, Any] | None:
    """The last JSON object in a text, with whatever is nested in it. Raises Unreadable if that one repeats a key."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats)
    found: dict[str, Any] | Unreadable | None = None
    start, tries, read_in_vain = _OBJECT.search(text), 0, 0
    while start is not None:
        at = start.start()
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError, Unreadable) as error:
            found, end = error if isinstance(error, Unreadable) else found, at + 1
            tries += 1
            read_in_vain += error.pos - at if isinstance(error, json.JSONDecodeError) else len(text)
        # Objects in objects, none of which ends: each would be read to the end again.
        if tries > BROKEN or read_in_vain > TIMES * len(text):
            raise Unreadable("it has too many JSON objects that are broken")
        start = _OBJECT.search(text, end)
    if isinstance(found, Unreadable):
        raise found
    return found
