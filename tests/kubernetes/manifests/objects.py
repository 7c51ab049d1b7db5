"""What include/kubernetes would create."""

from __future__ import annotations

from typing import Any

import yaml

from llm_eval.settings import HOME

FOLDER = HOME / "include" / "kubernetes"


def objects() -> list[dict[str, Any]]:
    return [found for path in sorted(FOLDER.glob("*.yaml")) for found in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [found for found in objects() if found["kind"] == kind]


def named(kind: str) -> set[str]:
    return {found["metadata"]["name"] for found in of_kind(kind)}
