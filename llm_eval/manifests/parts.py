"""The parts of a pod. One of the wrong type reads as absent, because `fields` names it and the other rules go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Part = Mapping[str, Any]


class Mistake(NamedTuple):
    """`field` is the path in the pod, such as `spec.containers[0].env[2]`."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


def mapping(value: object) -> Part:
    return value if isinstance(value, Mapping) else {}


def entries(path: str, value: object) -> Iterator[tuple[str, Part]]:
    """The mappings of a list, each with its own path."""
    if isinstance(value, list):
        yield from ((f"{path}[{i}]", entry) for i, entry in enumerate(value) if isinstance(entry, Mapping))


def metadata(pod: Part) -> Part:
    return mapping(pod.get("metadata"))


def spec(pod: Part) -> Part:
    return mapping(pod.get("spec"))


def containers(pod: Part) -> Iterator[tuple[str, Part]]:
    """All containers, those that run first before the others."""
    for kind in ("initContainers", "containers"):
        yield from entries(f"spec.{kind}", spec(pod).get(kind))


def volumes(pod: Part) -> Iterator[tuple[str, Part]]:
    yield from entries("spec.volumes", spec(pod).get("volumes"))


def mounts(path: str, container: Part) -> Iterator[tuple[str, Part]]:
    yield from entries(f"{path}.volumeMounts", container.get("volumeMounts"))
