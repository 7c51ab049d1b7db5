"""A pod without mistakes, the same with one of them planted, and the schemas' opinion on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

HERE = Path(__file__).parent
OLDEST, NEWEST = "1.28", kubernetes_validate.latest_version()
VERSIONS = [
    minor
    for minor in dict.fromkeys(map(kubernetes_validate.utils.major_minor, kubernetes_validate.utils.all_versions()))
    if int(minor.split(".")[1]) >= int(OLDEST.split(".")[1])
]


def good() -> dict[str, Any]:
    return dict(yaml.safe_load((HERE / "good.yaml").read_text()))


def planted(name: str) -> dict[str, Any]:
    """The good pod with one of the faults."""
    return dict(laid_over(good(), yaml.safe_load((HERE / "faults" / f"{name}.yaml").read_text())))


def laid_over(base: Any, change: Any) -> Any:
    """Mappings key by key, where null takes a key away; lists entry by entry."""
    if isinstance(base, dict) and isinstance(change, dict):
        merged = {key: laid_over(base.get(key), value) for key, value in change.items() if value is not None}
        return {key: value for key, value in base.items() if key not in change} | merged
    if isinstance(base, list) and isinstance(change, list):
        both = [laid_over(old, new) for old, new in zip(base, change, strict=False)]
        return both + base[len(change) :] + change[len(base) :]
    return change


def schema_mistake(manifest: dict[str, Any], version: str = NEWEST) -> str | None:
    """What the schemas of this version of Kubernetes say, unknown fields included."""
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None
