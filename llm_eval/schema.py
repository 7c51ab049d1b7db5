"""JSON Schemas of the catalog's files, generated from the specs."""

from __future__ import annotations

import json
from pathlib import Path

from llm_eval.catalog import KINDS


def schemas() -> dict[str, str]:
    """File name → JSON text, one per kind of catalog file."""
    return {
        f"{kind.removesuffix('s')}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **spec.model_json_schema()},
            ensure_ascii=False,
            indent=2,
        )
        + "\n"
        for kind, spec in KINDS.items()
    }


def write_schemas(folder: Path) -> list[Path]:
    """The files written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in schemas()]
