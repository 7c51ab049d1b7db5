"""Records as Parquet: one Arrow schema per record type, derived from its annotations: the two cannot drift apart.

`dict` fields travel as JSON text; `tuple[X, ...]` as lists; nested records as structs. Records are taken apart and put
together a column at a time, several times as fast as row by row.
"""

from __future__ import annotations

import dataclasses
import io
import json
import types
import typing
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from llm_eval import garbage, importing, storage
from llm_eval.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

_SOURCES = b"sources"
_SCALARS: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def _split_optional(annotation: Any) -> tuple[Any, bool]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        return inner[0], True
    return annotation, False


def _is_record(annotation: Any) -> bool:
    return dataclasses.is_dataclass(annotation)


def _arrow_type(annotation: Any) -> pa.DataType:
    annotation, _ = _split_optional(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return pa.string()
    if origin is tuple:
        return pa.list_(_arrow_type(typing.get_args(annotation)[0]))
    if origin is dict:
        return pa.string()
    if _is_record(annotation):
        return pa.struct(list(schema_of(annotation)))
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


@cache
def _settle_pandas() -> None:
    """pyarrow imports pandas when it first meets a list, to know a Series when it sees one: 0.3 s and 40 MiB."""
    with importing.absent("pandas"):
        pa.array([])


def _array(annotation: Any, values: list[Any]) -> pa.Array:
    """A column of such values; None for one that is absent."""
    inner, _ = _split_optional(annotation)
    origin = typing.get_origin(inner)
    if origin is dict:
        return pa.array([_json(value) for value in values], pa.string())
    if origin is tuple and _is_record(item := typing.get_args(inner)[0]):
        ends = accumulate((len(value or ()) for value in values), initial=0)
        items = _array(item, [item for value in values for item in value or ()])
        absent = pa.array([value is None for value in values], pa.bool_()) if None in values else None
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items, type=_arrow_type(inner), mask=absent)
    if _is_record(inner):
        return pa.StructArray.from_arrays(_columns(inner, values, _hints(inner)), fields=list(schema_of(inner)))
    return pa.array(values, _arrow_type(inner))


def _columns(record: Any, rows: Sequence[Any], names: Iterable[str]) -> list[pa.Array]:
    return [_array(_hints(record)[name], [getattr(row, name) for row in rows]) for name in names]


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _values(annotation: Any, array: pa.Array) -> list[Any]:
    """What `_array` was made from."""
    inner, _ = _split_optional(annotation)
    origin = typing.get_origin(inner)
    if origin is dict:
        return [None if text is None else json.loads(text) for text in array.to_pylist()]
    if origin is tuple:
        items = _values(typing.get_args(inner)[0], array.values)
        found = [tuple(items[begin:end]) for begin, end in pairwise(array.offsets.to_pylist())]
        if array.null_count == 0:
            return found
        return [value if there.is_valid else None for value, there in zip(found, array, strict=True)]
    if _is_record(inner):
        return _records(inner, [array.field(name) for name in _hints(inner)])
    if pa.types.is_dictionary(array.type):
        texts = array.dictionary.to_pylist()
        return [None if i is None else texts[i] for i in array.indices.to_pylist()]
    values: list[Any] = array.to_pylist()
    return values


def _records(record: Any, columns: Iterable[pa.Array]) -> list[Any]:
    values = [_values(hint, column) for hint, column in zip(_hints(record).values(), columns, strict=True)]
    if any(field.kw_only for field in dataclasses.fields(record)):
        return [record(**dict(zip(_hints(record), row, strict=True))) for row in zip(*values, strict=True)]
    return [record(*row) for row in zip(*values, strict=True)]


def to_table(record: type[R], rows: Iterable[R], names: Sequence[str] | None = None) -> pa.Table:
    """A row for each record. `names`: only these columns; None: all."""
    _settle_pandas()
    names = schema_of(record).names if names is None else names
    schema = pa.schema([schema_of(record).field(name) for name in names])
    return pa.Table.from_arrays(_columns(record, list(rows), names), schema=schema)


def from_table(record: type[R], table: pa.Table) -> list[R]:
    """The rows of a table that has at least the record's columns."""
    with garbage.paused():
        return _records(record, (table[name].combine_chunks() for name in _hints(record)))


def write(
    uri: str, record: type[R], rows: Iterable[R], *, into_existing: bool = False, sources: Sequence[str] | None = None
) -> None:
    """Write rows as one Parquet file, atomically. No rows make an empty file with the schema.

    `into_existing`: see `storage.write_bytes`. `sources`: names of what the rows were made from; kept in the same file,
    so that nobody reads the one without the other.
    """
    buffer = io.BytesIO()
    table = to_table(record, rows)
    if sources is not None:
        table = table.replace_schema_metadata({_SOURCES: json.dumps(list(sources))})
    pq.write_table(table, buffer, compression="zstd")
    storage.write_bytes(uri, buffer.getvalue(), into_existing=into_existing)


def read(uri: str, record: type[R], later: Collection[str] = ()) -> list[R]:
    """All rows of one Parquet file as records, which may have fewer fields than it has columns.

    later: columns that came after files without them were written; there their field's default stands. Raises
    StorageError if the file is absent (NotThere), truncated or not Parquet, or if other columns are missing.
    """
    return _rows(uri, storage.read_bytes(uri), record, later)


def read_with_sources(uri: str, record: type[R]) -> tuple[list[R], tuple[str, ...]]:
    """All rows of one Parquet file and the `sources` that it was written with; raises as `read` does."""
    data = storage.read_bytes(uri)
    rows = _rows(uri, data, record)
    noted = (pq.ParquetFile(io.BytesIO(data)).schema_arrow.metadata or {}).get(_SOURCES)
    if noted is None:
        raise StorageError(
            f"{uri}: does not say what it was made from; written by another version? Run the stage that writes it with "
            "--force."
        )
    return rows, tuple(json.loads(noted))


def read_all(uris: Sequence[str], record: type[R], later: Collection[str] = ()) -> list[R]:
    return [row for uri, data in storage.read_each(uris) for row in _rows(uri, data, record, later)]


def read_where(
    uris: Sequence[str], record: type[R], column: str, values: Collection[str], later: Collection[str] = ()
) -> list[R]:
    """The rows of files whose `column` is one of `values`; where there is none, nothing else of a file is decoded."""
    found: list[R] = []
    for uri, data in storage.read_each(uris):
        try:
            column_of_file = pq.ParquetFile(io.BytesIO(data)).read(columns=[column], use_threads=False)[column]
        except (pa.ArrowInvalid, OSError) as error:
            raise StorageError(f"{uri}: not a readable Parquet file ({error}). Delete it and run again.") from error
        if any(value in values for value in column_of_file.to_pylist()):
            found += [row for row in _rows(uri, data, record, later) if getattr(row, column) in values]
    return found


def _rows(uri: str, data: bytes, record: type[R], later: Collection[str] = ()) -> list[R]:
    source = io.BytesIO(data)
    names = schema_of(record).names
    try:
        parquet = pq.ParquetFile(source).schema
        absent = [name for name in names if name not in parquet.to_arrow_schema().names]
        missing = [name for name in absent if name not in later]
        table = None if missing else _read(source, [name for name in names if name not in absent], parquet)
    except (pa.ArrowInvalid, OSError) as error:
        raise StorageError(f"{uri}: not a readable Parquet file ({error}). Delete it and run again.") from error
    if table is None:
        raise StorageError(
            f"{uri}: columns missing: {', '.join(missing)}; written by another version? Run again with --force."
        )
    defaults = {f.name: f.default for f in dataclasses.fields(record)}
    for name in absent:
        table = table.append_column(name, _array(_hints(record)[name], [defaults[name]] * len(table)))
    return from_table(record, table)


def _read(source: io.BytesIO, names: list[str], parquet: pq.ParquetSchema) -> pa.Table:
    """Texts within lists once each: the few-shot examples of 14,000 requests are 160 MiB otherwise."""
    inner = [path for path in (parquet.column(i).path for i in range(len(parquet))) if "." in path]
    return pq.ParquetFile(source, read_dictionary=inner).read(columns=names, use_threads=False)
