"""The objects of the cluster, their versions and the history of changes that watches read."""

from __future__ import annotations

import copy
import time
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any, Literal, NamedTuple

from tests.kubernetes.emulator.bell import Bell
from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.times import in_objects, now

Manifest = dict[str, Any]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
HISTORY = 5000
FIRST_VERSION = 1000  # not 0, which a watch takes for "whatever there is"

KINDS = {
    "pods": "Pod",
    "events": "Event",
    "configmaps": "ConfigMap",
    "secrets": "Secret",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "serviceaccounts": "ServiceAccount",
    "nodes": "Node",
    "namespaces": "Namespace",
}
WITHOUT_NAMESPACE = frozenset({"nodes", "namespaces"})


class Change(NamedTuple):
    version: int
    resource: str
    type: ChangeType
    object: Manifest


class Store:
    """Objects by resource ("pods"), namespace (None for nodes and namespaces) and name. For one event loop."""

    def __init__(self) -> None:
        self.version = FIRST_VERSION
        self.bell = Bell()
        self._objects: dict[str, dict[tuple[str | None, str], Manifest]] = defaultdict(dict)
        self._changes: deque[Change] = deque(maxlen=HISTORY)

    def add(self, resource: str, manifest: Manifest) -> Manifest:
        """The object as it is kept from now on. Raises ApiError 409 if there is one of this name."""
        metadata = manifest["metadata"]
        if _key(manifest) in self._objects[resource]:
            raise ApiError(409, f'{resource} "{metadata["name"]}" already exists', "AlreadyExists")
        manifest.update(kind=KINDS[resource], apiVersion="v1")
        metadata.update(uid=str(uuid.uuid4()), creationTimestamp=in_objects(now()))
        self._objects[resource][_key(manifest)] = manifest
        self._note(resource, "ADDED", manifest)
        return manifest

    def get(self, resource: str, namespace: str | None, name: str) -> Manifest:
        """Raises ApiError 404."""
        try:
            return self._objects[resource][(namespace, name)]
        except KeyError:
            raise ApiError(404, f'{resource} "{name}" not found') from None

    def all(self, resource: str, namespace: str | None = None) -> list[Manifest]:
        """Of one namespace, or of all of them."""
        return [o for (where, _), o in self._objects[resource].items() if namespace in (None, where)]

    def modified(self, resource: str, manifest: Manifest) -> None:
        """To be told after each change to an object that `get` or `all` gave. Nothing, if it has been removed since."""
        if self._objects[resource].get(_key(manifest)) is manifest:
            self._note(resource, "MODIFIED", manifest)

    def remove(self, resource: str, manifest: Manifest) -> None:
        if self._objects[resource].get(_key(manifest)) is manifest:
            del self._objects[resource][_key(manifest)]
            self._note(resource, "DELETED", manifest)

    def forget_history(self) -> None:
        """As after a compaction of etcd: a watch from an older version is told 410."""
        self._changes.clear()

    async def watch(self, resource: str, since: int, seconds: float) -> AsyncIterator[Change]:
        """Changes after version `since`, for so many seconds. Raises ApiError 410 if not all are known any more."""
        end = time.monotonic() + seconds
        while True:
            # The changes that are kept are the last ones without a gap, each one version further.
            if since < self.version - len(self._changes):
                raise ApiError(410, f"too old resource version: {since} ({self.version})")
            for change in [change for change in self._changes if change.version > since]:
                if change.resource == resource:
                    yield change
                since = change.version
            while since >= self.version:
                left = end - time.monotonic()
                if left <= 0 or not await self.bell.heard(left):
                    return

    def _note(self, resource: str, type: ChangeType, manifest: Manifest) -> None:
        self.version += 1
        manifest["metadata"]["resourceVersion"] = str(self.version)
        self._changes.append(Change(self.version, resource, type, copy.deepcopy(manifest)))
        self.bell.ring()


def _key(manifest: Manifest) -> tuple[str | None, str]:
    return manifest["metadata"].get("namespace"), manifest["metadata"]["name"]
