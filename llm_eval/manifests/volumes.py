"""Volumes and where they are mounted: each mount has a volume, each volume a mount, each path one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import PurePosixPath

from llm_eval.manifests.parts import Mistake, Part, containers, mapping, mounts, volumes
from llm_eval.manifests.quantities import InvalidQuantity, amount

MEDIA = ("", "Memory", "HugePages")


def mistakes(pod: Part) -> Iterator[Mistake]:
    named = {str(volume.get("name")): volume for _, volume in volumes(pod)}
    mounted: set[str] = set()
    for path, container in containers(pod):
        paths: set[str] = set()
        for place, mount in mounts(path, container):
            name, where = str(mount.get("name")), str(mount.get("mountPath"))
            mounted.add(name)
            if name not in named:
                known = ", ".join(sorted(named)) or "none"
                yield Mistake(f"{place}.name", f"{name!r} is no volume of this pod. In spec.volumes: {known}")
            yield from _place(place, mount)
            if where in paths:
                yield Mistake(f"{place}.mountPath", f"{where!r} is mounted twice. Remove one of the mounts")
            paths.add(where)
        yield from _shared_memory(path, container, named)
    for path, volume in volumes(pod):
        yield from _volume(path, volume)
        if str(volume.get("name")) not in mounted:
            yield Mistake(path, f"no container mounts {volume.get('name')!r}. Mount it, or take it out")


def _place(path: str, mount: Part) -> Iterator[Mistake]:
    where, inside = mount.get("mountPath"), mount.get("subPath")
    if not isinstance(where, str) or not where.startswith("/") or ":" in where:
        yield Mistake(f"{path}.mountPath", f"{where!r} is no absolute path without a colon")
    if isinstance(inside, str) and (inside.startswith("/") or ".." in PurePosixPath(inside).parts):
        yield Mistake(f"{path}.subPath", f"{inside!r} must stay inside the volume: relative, and without '..'")


def _volume(path: str, volume: Part) -> Iterator[Mistake]:
    sources = sorted(str(key) for key, source in volume.items() if key != "name" and source is not None)
    if len(sources) != 1:
        found = ", ".join(sources) or "none"
        yield Mistake(path, f"a volume has one source, such as emptyDir or persistentVolumeClaim. Here: {found}")
    empty = mapping(volume.get("emptyDir"))
    medium, size = empty.get("medium", ""), empty.get("sizeLimit")
    if isinstance(medium, str) and medium not in MEDIA and not medium.startswith("HugePages-"):
        yield Mistake(f"{path}.emptyDir.medium", f"{medium!r} is not known. Allowed: Memory, HugePages or none, a disk")
    if size is not None:
        try:
            if amount(size) < 0:
                yield Mistake(f"{path}.emptyDir.sizeLimit", f"{size!r} is less than nothing")
        except InvalidQuantity as error:
            yield Mistake(f"{path}.emptyDir.sizeLimit", str(error))


def _shared_memory(path: str, container: Part, named: Mapping[str, Part]) -> Iterator[Mistake]:
    """What lies in a Memory volume counts against the limit of whoever wrote it."""
    limit = _amount(mapping(mapping(container.get("resources")).get("limits")).get("memory"))
    if limit is None:
        return
    for place, mount in mounts(path, container):
        empty = mapping(mapping(named.get(str(mount.get("name")))).get("emptyDir"))
        if empty.get("medium") != "Memory":
            continue
        size = _amount(empty.get("sizeLimit"))
        if size is None or size >= limit:
            yield Mistake(
                place,
                f"the Memory volume {mount.get('name')!r} may hold {empty.get('sizeLimit') or 'any amount'}, and that "
                "counts as the container's memory: filling it would end the container. Give it a sizeLimit below the "
                "memory limit",
            )


def _amount(value: object) -> Fraction | None:
    """None if it is absent or cannot be read, which another rule says."""
    try:
        return None if value is None else amount(value)
    except InvalidQuantity:
        return None
