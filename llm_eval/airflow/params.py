"""The trigger form, made from `RunParams`: one source for the form, REST, the command line and the checks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from airflow.sdk import Param

from llm_eval.catalog import parse
from llm_eval.errors import InputError, InvalidSpec
from llm_eval.specs import RunParams

DRAFT = "http://json-schema.org/draft-07/schema#"
"""Airflow checks each field's schema itself some twenty times while it reads a DAG; without a draft it takes the newest
one, whose rules take five times as long to apply."""


def dag_params() -> dict[str, Param]:
    """One Airflow param per field of `RunParams`, with its default, title, description and limits."""
    return {name: _param(schema) for name, schema in _form().items()}


@cache
def _form() -> dict[str, Any]:
    form: dict[str, Any] = RunParams.model_json_schema()["properties"]
    return form


def _param(schema: Mapping[str, Any]) -> Param:
    """The form draws a field from a single `type`, so `int | None` becomes type ["integer", "null"]."""
    keywords = {"$schema": DRAFT} | {
        k: v for k, v in schema.items() if k not in {"default", "anyOf", "description", "additionalProperties"}
    }
    if "anyOf" in schema:
        keywords["type"] = [choice["type"] for choice in schema["anyOf"]]
        for choice in schema["anyOf"]:
            keywords |= {k: v for k, v in choice.items() if k != "type"}
    return Param(schema.get("default"), description=schema.get("description"), **keywords)


def run_params(conf: Mapping[str, Any] | None, params: Mapping[str, Any]) -> RunParams:
    """What a DAG run was asked to do. Raises InvalidSpec for a key that is no parameter: Airflow itself takes any."""
    if unknown := sorted(set(conf or {}) - set(RunParams.model_fields)):
        raise InvalidSpec(
            f"the run's configuration: unknown key{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}. "
            f"Allowed: {', '.join(RunParams.model_fields)}. Values of the catalog go into `overrides`, "
            'such as {"overrides": {"dataset.generation.max_tokens": 64}}.'
        )
    known = {name: params[name] for name in RunParams.model_fields if name in params}
    return parse(RunParams, known, "the run's parameters")


def of_partition(params: RunParams, partition_key: str | None) -> RunParams:
    """The parameters of a run for one checkpoint. Raises InvalidSpec if the form names another one."""
    if partition_key is None:
        return params
    if params.checkpoint not in (None, partition_key):
        raise InvalidSpec(
            f"the run's partition is checkpoint {partition_key!r} and its parameter `checkpoint` is "
            f"{params.checkpoint!r}; leave one of them out"
        )
    return params.model_copy(update={"checkpoint": partition_key})


def checkpoint_of(dag_run: Any) -> str:
    """The checkpoint that a run is about: its partition, or its parameter. Raises InputError if it names none."""
    name = dag_run.partition_key or (dag_run.conf or {}).get("checkpoint")
    if not isinstance(name, str):
        raise InputError("which checkpoint? Start this DAG with its name as the partition key, or as `checkpoint`")
    return name
