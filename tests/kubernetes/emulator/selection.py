"""Label and field selectors: which objects a list or a watch is about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.kubernetes.emulator.errors import ApiError

# A comma inside "in (a,b)" separates values, not requirements.
SEPARATOR = re.compile(r",(?![^(]*\))")
SET = re.compile(r"(\S+)\s+(in|notin)\s+\((.*)\)")
EQUALITY = re.compile(r"([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)")
EXISTENCE = re.compile(r"(!?)\s*([^=!\s()]+)")


def labels_match(selector: str, labels: Mapping[str, str]) -> bool:
    """Raises ApiError 400 for a selector that cannot be read. An empty one matches everything."""
    return all(_label_matches(part.strip(), labels) for part in SEPARATOR.split(selector) if part.strip())


def _label_matches(requirement: str, labels: Mapping[str, str]) -> bool:
    if found := SET.fullmatch(requirement):
        name, operator, values = found.groups()
        return (labels.get(name) in [v.strip() for v in values.split(",")]) == (operator == "in")
    if found := EQUALITY.fullmatch(requirement):
        name, operator, value = found.groups()
        return (labels.get(name) == value) == (operator != "!=")
    if found := EXISTENCE.fullmatch(requirement):
        return (found[2] in labels) == (found[1] == "")
    raise ApiError(400, f"unable to parse requirement: {requirement!r}")


def fields_match(selector: str, manifest: Mapping[str, Any]) -> bool:
    """`metadata.name=x,status.phase!=Running`; any field may be named, where Kubernetes has a list of them."""
    for part in filter(None, selector.split(",")):
        found = EQUALITY.fullmatch(part)
        if found is None:
            raise ApiError(400, f"invalid field selector: {part!r}")
        value: Any = manifest
        for step in found[1].split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if ((value or "") == found[3]) != (found[2] != "!="):
            return False
    return True
