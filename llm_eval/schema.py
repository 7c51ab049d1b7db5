"""JSON Schemas of the catalog's files, generated from the specs and from the string below each field.

Pydantic reads those strings too (`use_attribute_docstrings`), but whenever the specs are imported, for which it looks
at the file of every module in memory: 0.2 CPU seconds of each task, for what only this command needs.
"""

from __future__ import annotations

import ast
import inspect
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from llm_eval.catalog import KINDS


def schemas() -> dict[str, str]:
    """File name → JSON text, one per kind of catalog file."""
    return {
        f"{kind.removesuffix('s')}.schema.json": json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                **spec.model_json_schema(schema_generator=Documented),
            },
            ensure_ascii=False,
            indent=2,
        )
        + "\n"
        for kind, spec in KINDS.items()
    }


class Documented(GenerateJsonSchema):
    """Describes each field that has no description of its own by the string below it."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().model_schema(schema)
        for name, text in _strings_below_fields(schema["cls"]).items():
            made["properties"][name].setdefault("description", text)
        return made


def _strings_below_fields(spec: type[BaseModel]) -> dict[str, str]:
    (class_,) = ast.parse(inspect.getsource(spec)).body
    assert isinstance(class_, ast.ClassDef)
    found = {}
    for field, below in pairwise(class_.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = inspect.cleandoc(text)
    return found


def write_schemas(folder: Path) -> list[Path]:
    """The files written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in schemas()]
