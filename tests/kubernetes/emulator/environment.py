"""The environment and the command of a container, as its pod asks for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.kubernetes.emulator.images import Image
from tests.kubernetes.emulator.references import References

VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
SOURCES = {"secretRef": "secrets", "configMapRef": "configmaps"}
KEYS = {"secretKeyRef": "secrets", "configMapKeyRef": "configmaps"}


def environment_of(
    container: Mapping[str, Any], pod: Mapping[str, Any], image: Mapping[str, str], references: References
) -> dict[str, str]:
    """`image`: what the image itself sets. Raises NotReady."""
    found = {"HOSTNAME": pod["metadata"]["name"], **image}
    for source in container.get("envFrom") or []:
        for kind in source.keys() & SOURCES.keys():
            for name, content in references.values(SOURCES[kind], source[kind]).items():
                found[(source.get("prefix") or "") + name] = content.decode()
    for variable in container.get("env") or []:
        value = _value(variable, pod, references)
        if value is not None:
            found[variable["name"]] = expand(value, found)
    return found


def _value(variable: Mapping[str, Any], pod: Mapping[str, Any], references: References) -> str | None:
    source = variable.get("valueFrom") or {}
    for kind in source.keys() & KEYS.keys():
        return references.value(KEYS[kind], source[kind])
    if "fieldRef" in source:
        value: Any = pod
        for step in source["fieldRef"]["fieldPath"].split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        return str(value or "")
    return variable.get("value") or ""


def arguments_of(container: Mapping[str, Any], image: Image, environment: Mapping[str, str]) -> tuple[str, ...]:
    """`args` alone go to the image's own command."""
    command = container.get("command") or image.command
    return tuple(expand(word, environment) for word in [*command, *(container.get("args") or [])])


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` by its value; an unknown name stays as it is."""
    return VARIABLE.sub(lambda found: environment.get(found[1], found[0]), text)
