"""Secrets are named, never written: a pod's values are read by whoever may read pods, and end in logs and backups."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_eval.manifests.parts import Mistake, Part, containers, entries, mapping

SECRET_NAME = re.compile(r"(KEY|TOKEN|PASSWORD|PASSWD|SECRET)(_ID)?$", re.IGNORECASE)
SECRET_VALUE = re.compile(r"^[a-z][-+.a-z0-9]*://[^/\s@]*:[^/\s@]+@", re.IGNORECASE)  # scheme://user:password@host


def mistakes(pod: Part) -> Iterator[Mistake]:
    """Values are looked at and never repeated."""
    for path, container in containers(pod):
        for place, variable in entries(f"{path}.env", container.get("env")):
            name, value, source = str(variable.get("name")), variable.get("value"), variable.get("valueFrom")
            if source is not None and value:
                yield Mistake(place, f"{name} has a value and a valueFrom. Remove one of them")
            if source is not None and len(mapping(source)) != 1:
                yield Mistake(f"{place}.valueFrom", "has one source, such as secretKeyRef")
            if not value or source is not None:
                continue
            if SECRET_NAME.search(name) or SECRET_VALUE.match(str(value)):
                yield Mistake(
                    place,
                    f"{name} looks like a secret and is written out. Name it instead: valueFrom.secretKeyRef, or the "
                    "container's envFrom.secretRef",
                )
