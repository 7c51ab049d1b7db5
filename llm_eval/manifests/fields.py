"""Fields that Kubernetes does not know, and values of another type than it wants.

In a template both are lost without a word: the client that reads it drops an unknown field (`capabilties`) and makes of
a value what its type can make of it (`runAsNonRoot: "no"` is true, a non-empty string).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from llm_eval.manifests.parts import Mistake, Part

# Kubernetes takes these as text or as numbers, the client knows them as text; `resources` and `volumes` read them.
QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "divisor", "overhead"})
LIST = re.compile(r"list\[(.+)\]")
TABLE = re.compile(r"dict[\[(]str, (.+)[\])]")
PLAIN = {"str": str, "int": int, "bool": bool, "float": float}


def mistakes(pod: Part) -> Iterator[Mistake]:
    """Held against the classes of the installed `kubernetes` client."""
    yield from _fields("", pod, "V1Pod")


def _fields(path: str, part: Part, model: str) -> Iterator[Mistake]:
    from kubernetes.client import models  # half a second, and only who checks a pod needs it

    described = getattr(models, model)
    types = {field: described.openapi_types[name] for name, field in described.attribute_map.items()}
    for key, value in part.items():
        place = f"{path}.{key}" if path else str(key)
        if key not in types:
            close = difflib.get_close_matches(str(key), types, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known here: {', '.join(sorted(types))}."
            yield Mistake(place, f"Kubernetes knows no such field.{hint}")
        elif value is not None and not (key in QUANTITIES and _may_be_quantities(value, types[key])):
            yield from _value(place, value, types[key])


def _may_be_quantities(value: object, expected: str) -> bool:
    return isinstance(value, Mapping) if TABLE.fullmatch(expected) else isinstance(value, str | int | float)


def _value(path: str, value: object, expected: str) -> Iterator[Mistake]:
    if match := LIST.fullmatch(expected):
        if not isinstance(value, list):
            yield _other_type(path, value, "a list")
            return
        for index, entry in enumerate(value):
            yield from _value(f"{path}[{index}]", entry, match[1])
    elif match := TABLE.fullmatch(expected):
        if not isinstance(value, Mapping):
            yield _other_type(path, value, "a mapping")
            return
        for key, entry in value.items():
            yield from _value(f"{path}[{key}]", entry, match[1])
    elif plain := PLAIN.get(expected):
        if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
            yield _other_type(path, value, _article(expected))
    elif expected.startswith(("V1", "CoreV1")):
        if isinstance(value, Mapping):
            yield from _fields(path, value, expected)
        else:
            yield _other_type(path, value, "a mapping")


def _article(expected: str) -> str:
    return {"str": "text (quote it)", "int": "a whole number", "bool": "true or false", "float": "a number"}[expected]


def _other_type(path: str, value: Any, wanted: str) -> Mistake:
    # Of text only its type is told: it may be a secret in the wrong place.
    shown = "text" if isinstance(value, str) else repr(value)
    return Mistake(path, f"{shown} is not {wanted}")
