"""Pods for tests of the emulator: only what matters to a test is visible in it."""

from __future__ import annotations

from typing import Any


def pod(script: str, *, name: str = "pod", container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """One container `base` that runs a line of shell, once. `container`, `spec`: what else they have, as in YAML."""
    base = {"name": "base", "image": "registry/image:1", "command": ["sh", "-c", script], **(container or {})}
    return {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [base], **spec}}
