"""What a pod takes from elsewhere: secrets, config maps, claims, each by one name that such a thing can have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_eval.manifests.names import VARIABLE, invalid_name
from llm_eval.manifests.parts import Mistake, Part, containers, entries, mapping, volumes

KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
SOURCES_OF_ALL = ("secretRef", "configMapRef")
SOURCES_OF_ONE = ("secretKeyRef", "configMapKeyRef")
SOURCES_OF_VOLUMES = {"secret": "secretName", "configMap": "name", "persistentVolumeClaim": "claimName"}


def mistakes(pod: Part) -> Iterator[Mistake]:
    for path, container in containers(pod):
        for place, source in entries(f"{path}.envFrom", container.get("envFrom")):
            yield from _all_of(place, source)
        for place, variable in entries(f"{path}.env", container.get("env")):
            source = mapping(variable.get("valueFrom"))
            for kind in SOURCES_OF_ONE:
                if kind in source:
                    yield from _one_of(f"{place}.valueFrom.{kind}", mapping(source[kind]))
    for path, volume in volumes(pod):
        for kind, field in SOURCES_OF_VOLUMES.items():
            if volume.get(kind) is not None:
                yield from _named(f"{path}.{kind}.{field}", mapping(volume[kind]).get(field))


def _all_of(path: str, source: Part) -> Iterator[Mistake]:
    given = [kind for kind in SOURCES_OF_ALL if source.get(kind) is not None]
    if len(given) != 1:
        yield Mistake(path, f"names one source, {' or '.join(SOURCES_OF_ALL)}. Here: {', '.join(given) or 'none'}")
    for kind in given:
        yield from _named(f"{path}.{kind}.name", mapping(source[kind]).get("name"))
    if (prefix := source.get("prefix")) and not VARIABLE.fullmatch(str(prefix)):
        yield Mistake(f"{path}.prefix", f"{prefix!r} begins no name of an environment variable")


def _one_of(path: str, source: Part) -> Iterator[Mistake]:
    yield from _named(f"{path}.name", source.get("name"))
    key = source.get("key")
    if not isinstance(key, str) or not KEY.fullmatch(key):
        yield Mistake(f"{path}.key", f"{key!r} is no key of it. Allowed: letters, digits, '-', '_' and '.'")


def _named(path: str, name: object) -> Iterator[Mistake]:
    if name is None:
        yield Mistake(path, "absent. Say whose values are meant")
    else:
        yield from invalid_name(path, name)
