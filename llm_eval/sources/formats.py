"""File formats as rows, told by the suffix: csv, tsv, jsonl, json, parquet, lines. Nothing broken is skipped over."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from llm_eval.errors import InvalidData, InvalidSpec
from llm_eval.sources.pieces import Row

MAX_CELL = 2**31 - 1  # the csv module's own limit of 131,072 characters is less than a long document


def parse(path: str, data: bytes, header: tuple[str, ...] | None = None) -> list[Row]:
    """The rows of one file; `path` tells the format and names it in errors. Raises InvalidData, also for no rows."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in _FORMATS:
        raise InvalidSpec(f"{path}: files of kind {suffix or '(no suffix)'!r} are not read, only {', '.join(_FORMATS)}")
    if header is not None and suffix not in (".csv", ".tsv"):
        raise InvalidSpec(f"{path}: `header` is for csv and tsv files")
    rows = list(_FORMATS[suffix](path, data, header))
    if not rows:
        raise InvalidData(f"{path}: the file is empty: it has no rows")
    return rows


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidData(f"{path}, line {line}: not UTF-8 ({error.reason}). Convert the file to UTF-8.") from error


def _csv(path: str, data: bytes, header: tuple[str, ...] | None) -> Iterator[Row]:
    return _separated(path, data, header, ",")


def _tsv(path: str, data: bytes, header: tuple[str, ...] | None) -> Iterator[Row]:
    return _separated(path, data, header, "\t")


def _separated(path: str, data: bytes, header: tuple[str, ...] | None, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL)
    # strict: an unclosed quote is an error; without it, it swallows the rest of the file.
    reader = csv.reader(io.StringIO(_text(path, data), newline=""), delimiter=delimiter, strict=True)
    names: Sequence[str] | None = header
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not cells:  # a blank line
                continue
            if names is None or tuple(cells) == header:
                names = _header(path, cells, header)
                continue
            if len(cells) != len(names):
                raise InvalidData(
                    f"{path}, line {start}: {len(cells)} cells under {len(names)} column names ({', '.join(names)})"
                )
            yield dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise InvalidData(f"{path}, line {line}: {error}") from error


def _header(path: str, cells: list[str], given: tuple[str, ...] | None) -> list[str]:
    if given is not None:
        raise InvalidSpec(f"{path}: the file has the header row {', '.join(cells)}; remove `header` from the source")
    if len(set(cells)) != len(cells):
        raise InvalidSpec(
            f"{path}: its header names a column twice: {', '.join(cells)}. If the file has no header row, say `header`."
        )
    return cells


def _jsonl(path: str, data: bytes, header: tuple[str, ...] | None) -> Iterator[Row]:
    # Not splitlines(): U+2028 and its like are ordinary characters within a JSON string.
    for number, line in enumerate(_text(path, data).split("\n"), start=1):
        if line.strip():
            yield _object(f"{path}, line {number}", _json_value(f"{path}, line {number}", line))


def _json(path: str, data: bytes, header: tuple[str, ...] | None) -> Iterator[Row]:
    values = _json_value(path, _text(path, data))
    if not isinstance(values, list):
        raise InvalidData(f"{path}: expected a list of objects, found {type(values).__name__}")
    for place, value in enumerate(values):
        yield _object(f"{path}, item {place} (from 0)", value)


def _json_value(where: str, text: str) -> object:
    try:
        value: object = json.loads(text)
        return value
    except ValueError as error:
        raise InvalidData(f"{where}: not valid JSON ({error}); was the file cut short?") from error


def _object(where: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise InvalidData(f"{where}: expected an object of columns, found {type(value).__name__}")
    return value


def _parquet(path: str, data: bytes, header: tuple[str, ...] | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Row] = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InvalidData(f"{path}: not a readable Parquet file ({error})") from error
    yield from rows


def lines(path: str, data: bytes) -> list[str]:
    """The lines of a text file; a blank one counts, for files beside each other are matched line by line."""
    text = _text(path, data)
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _lines(path: str, data: bytes, header: tuple[str, ...] | None) -> Iterator[Row]:
    return ({"text": line} for line in lines(path, data))


_FORMATS: dict[str, Callable[[str, bytes, tuple[str, ...] | None], Iterator[Row]]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
    ".txt": _lines,
    ".lst": _lines,
}
