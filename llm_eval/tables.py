"""Records as Parquet: one Arrow schema per record type, derived from its annotations: the two cannot drift apart.

`dict` fields travel as JSON text; `tuple[X, ...]` as lists; nested records as structs.
"""

from __future__ import annotations

import dataclasses
import io
import json
import types
import typing
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from llm_eval import storage
from llm_eval.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

_SCALARS: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def _split_optional(annotation: Any) -> tuple[Any, bool]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        return inner[0], True
    return annotation, False


def _arrow_type(annotation: Any) -> pa.DataType:
    annotation, _ = _split_optional(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return pa.string()
    if origin is tuple:
        return pa.list_(_arrow_type(typing.get_args(annotation)[0]))
    if origin is dict:
        return pa.string()
    if dataclasses.is_dataclass(annotation):
        return pa.struct(list(schema_of(typing.cast(Any, annotation))))
    return _SCALARS[annotation]


@cache
def _hints(record: Any) -> dict[str, Any]:
    return typing.get_type_hints(record)


@cache
def schema_of(record: Any) -> pa.Schema:
    """Arrow schema of a record type, fields in the order of declaration, nullable where None is allowed."""
    return pa.schema(
        [pa.field(name, _arrow_type(hint), nullable=_split_optional(hint)[1]) for name, hint in _hints(record).items()]
    )


def _to_arrow(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, tuple):
        return [_to_arrow(v) for v in value]
    if dataclasses.is_dataclass(value):
        return to_row(value)
    return value


def to_row(record: Any) -> dict[str, Any]:
    """A record as plain values, ready for Arrow."""
    return {f.name: _to_arrow(getattr(record, f.name)) for f in dataclasses.fields(record)}


def _from_arrow(annotation: Any, value: Any) -> Any:
    annotation, _ = _split_optional(annotation)
    if value is None:
        return None
    origin = typing.get_origin(annotation)
    if origin is tuple:
        inner = typing.get_args(annotation)[0]
        return tuple(_from_arrow(inner, v) for v in value)
    if origin is dict:
        return json.loads(value)
    if dataclasses.is_dataclass(annotation):
        return from_row(typing.cast("type[DataclassInstance]", annotation), value)
    return value


def from_row(record: type[R], row: dict[str, Any]) -> R:
    hints = _hints(record)
    return record(**{name: _from_arrow(hints[name], value) for name, value in row.items() if name in hints})


def to_table(record: type[R], rows: Iterable[R]) -> pa.Table:
    return pa.Table.from_pylist([to_row(r) for r in rows], schema=schema_of(record))


def write(uri: str, record: type[R], rows: Iterable[R]) -> None:
    """Write rows as one Parquet file, atomically. No rows make an empty file with the schema."""
    buffer = io.BytesIO()
    pq.write_table(to_table(record, rows), buffer, compression="zstd")
    storage.write_bytes(uri, buffer.getvalue())


def read_table(uri: str) -> pa.Table:
    """The Parquet file at `uri`. Raises StorageError if it is absent, truncated or not Parquet."""
    data = storage.read_bytes(uri)
    try:
        return pq.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise StorageError(f"{uri}: not a readable Parquet file ({error}). Delete it and run again.") from error


def read(uri: str, record: type[R]) -> list[R]:
    """All rows of one Parquet file as records. Raises StorageError if columns are missing."""
    table = read_table(uri)
    names = schema_of(record).names
    if missing := [n for n in names if n not in table.column_names]:
        raise StorageError(
            f"{uri}: columns missing: {', '.join(missing)}; written by another version? Run again with --force."
        )
    return [from_row(record, row) for row in table.select(names).to_pylist()]


def read_all(uris: Sequence[str], record: type[R]) -> list[R]:
    return [row for uri in uris for row in read(uri, record)]
