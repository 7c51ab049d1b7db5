"""A pod's volumes as real folders of this machine, and where its containers see them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kubernetes.emulator.processes import Mount
from tests.kubernetes.emulator.quantities import amount
from tests.kubernetes.emulator.references import NotReady, References

KEPT = {"secret": ("secrets", "secretName"), "configMap": ("configmaps", "name")}


class Volumes:
    """Of one pod. `folder`: its own; `claims`: the folder of all volume claims, which outlive pods."""

    def __init__(self, pod: Mapping[str, Any], folder: Path, claims: Path, references: References) -> None:
        self._volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
        self._mounted = [
            mount["name"]
            for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
            for mount in container.get("volumeMounts") or []
        ]
        self._group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        self._folder, self._claims, self._references = folder, claims, references
        self._made: dict[str, Path] = {}

    def mounts(self, container: Mapping[str, Any]) -> tuple[Mount, ...]:
        """Raises NotReady if a secret or config map that is mounted is missing."""
        return tuple(self._mount(mount) for mount in container.get("volumeMounts") or [])

    def _mount(self, mount: Mapping[str, Any]) -> Mount:
        volume, target = self._volumes[mount["name"]], os.path.normpath(mount["mountPath"])
        empty = volume.get("emptyDir") or {}
        # Memory is the container's own, so where several share the volume it has to be a folder, of any size.
        if empty.get("medium") == "Memory" and self._mounted.count(volume["name"]) == 1:
            return Mount(target, None, size_bytes=int(amount(empty.get("sizeLimit", 0))))
        if volume["name"] not in self._made:
            self._made[volume["name"]] = self._make(volume)
        source = self._made[volume["name"]] / (mount.get("subPath") or "")
        if mount.get("subPath"):
            source.mkdir(parents=True, exist_ok=True)
        claim = volume.get("persistentVolumeClaim") or {}
        read_only = mount.get("readOnly") or claim.get("readOnly") or volume.keys() & KEPT.keys()
        return Mount(target, str(source), read_only=bool(read_only))

    def _make(self, volume: Mapping[str, Any]) -> Path:
        if "hostPath" in volume:
            return _host_path(volume["hostPath"])
        if "persistentVolumeClaim" in volume:
            folder = self._claims / str(volume["persistentVolumeClaim"]["claimName"])
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = self._folder / "volumes" / str(volume["name"])
            folder.mkdir(parents=True)
            folder.chmod(0o777)
        for kind in volume.keys() & KEPT.keys():
            self._write(folder, kind, volume[kind])
        if self._group is not None and os.geteuid() == 0:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, -1, self._group)
                path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o060))
        return folder

    def _write(self, folder: Path, kind: str, source: Mapping[str, Any]) -> None:
        resource, name_field = KEPT[kind]
        try:
            values = self._references.values(resource, source, name_field)
        except NotReady as error:
            folder.rmdir()  # the next try begins anew
            message = f'MountVolume.SetUp failed for volume "{folder.name}": {error.message}'
            raise NotReady("ContainerCreating", message) from None
        paths = {item["key"]: item["path"] for item in source.get("items") or []} or {key: key for key in values}
        for key, path in paths.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(values[key])
            file.chmod(source.get("defaultMode") or 0o644)


def _host_path(source: Mapping[str, Any]) -> Path:
    path = Path(source["path"])
    if source.get("type") == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        raise NotReady("ContainerCreating", f"hostPath type check failed: {path} is not there")
    return path
