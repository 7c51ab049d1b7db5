"""Secrets and config maps that a pod refers to: their values, or why the pod has to wait for them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.store import Store


class NotReady(Exception):
    """A container cannot start yet, and is tried again: `reason` is what Kubernetes shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class References:
    """Of one namespace."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store, self._namespace = store, namespace

    def values(self, resource: str, reference: Mapping[str, Any], name_field: str = "name") -> dict[str, bytes]:
        """All that a secret or a config map holds; nothing if it is optional and not there. Raises NotReady."""
        name = reference[name_field]
        try:
            found = self._store.get(resource, self._namespace, name)
        except ApiError:
            if reference.get("optional"):
                return {}
            raise NotReady("CreateContainerConfigError", f'{resource[:-1]} "{name}" not found') from None
        if resource == "secrets":
            return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
        return {key: value.encode() for key, value in (found.get("data") or {}).items()}

    def value(self, resource: str, reference: Mapping[str, Any]) -> str | None:
        """One key's value; None if it is optional and not there. Raises NotReady."""
        values = self.values(resource, reference)
        if reference["key"] in values:
            return values[reference["key"]].decode()
        if reference.get("optional"):
            return None
        message = f"couldn't find key {reference['key']} in {resource[:-1]} {self._namespace}/{reference['name']}"
        raise NotReady("CreateContainerConfigError", message)
