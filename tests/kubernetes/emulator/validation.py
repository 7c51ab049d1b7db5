"""What an API server refuses in a pod. Small on purpose: the faults that our own pods could have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.quantities import amount

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
NATIVE_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})


def refuse_invalid(pod: Mapping[str, Any]) -> None:
    """Raises ApiError 422 with all that is wrong, as an API server does."""
    faults = [*_faults_of_metadata(pod["metadata"]), *_faults_of_spec(pod.get("spec") or {})]
    if faults:
        raise ApiError(422, f'Pod "{pod["metadata"].get("name")}" is invalid: [{", ".join(faults)}]')


def _faults_of_metadata(metadata: Mapping[str, Any]) -> Iterator[str]:
    name = metadata.get("name") or ""
    if not NAME.fullmatch(name) or len(name) > 253:
        yield f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain is needed'
    for label, value in (metadata.get("labels") or {}).items():
        if not isinstance(value, str) or not LABEL.fullmatch(value) or len(value) > 63:
            yield f"metadata.labels.{label}: Invalid value: {value!r}"


def _faults_of_spec(spec: Mapping[str, Any]) -> Iterator[str]:
    if not spec.get("containers"):
        yield "spec.containers: Required value"
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    names: set[str] = set()
    for place in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(place) or []):
            at = f"spec.{place}[{number}]"
            if not container.get("name") or container["name"] in names:
                yield f"{at}.name: Required or duplicate value: {container.get('name')!r}"
            names.add(container.get("name", ""))
            if not container.get("image"):
                yield f"{at}.image: Required value"
            for mount in container.get("volumeMounts") or []:
                if mount.get("name") not in volumes:
                    yield f"{at}.volumeMounts: Not found: {mount.get('name')!r}"
            yield from _faults_of_resources(f"{at}.resources", container.get("resources") or {})


def _faults_of_resources(at: str, resources: Mapping[str, Any]) -> Iterator[str]:
    amounts: dict[str, dict[str, Any]] = {"requests": {}, "limits": {}}
    for part, found in amounts.items():
        for name, quantity in (resources.get(part) or {}).items():
            if "/" not in name and name not in NATIVE_RESOURCES and not name.startswith("hugepages-"):
                yield f'{at}.{part}: Invalid value: "{name}": must be a standard resource or fully qualified'
            try:
                found[name] = amount(quantity)
            except ValueError as error:
                yield f"{at}.{part}.{name}: Invalid value: {quantity!r}: {error}"
                continue
            if "/" in name and found[name] % 1:
                yield f"{at}.{part}.{name}: Invalid value: {quantity!r}: must be an integer"
    requests, limits = amounts["requests"], amounts["limits"]
    for name, requested in requests.items():
        if "/" in name and limits.get(name) != requested:
            yield f"{at}.requests.{name}: limit must be set, and equal the request, for a resource like this"
        elif name in limits and requested > limits[name]:
            yield f"{at}.requests.{name}: must be less than or equal to the limit"
