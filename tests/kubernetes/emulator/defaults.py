"""What an API server adds to a pod that it accepts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any


def name_it(metadata: dict[str, Any]) -> None:
    """Gives an object with `generateName` alone its name."""
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]


def complete(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("serviceAccountName", "default")
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", _pull_policy(container))
    pod["status"] = {"phase": "Pending"}


def _pull_policy(container: Mapping[str, Any]) -> str:
    last = container["image"].rsplit("/", 1)[-1]
    is_newest = ":" not in last or last.endswith(":latest")
    return "Always" if is_newest and "@" not in last else "IfNotPresent"
