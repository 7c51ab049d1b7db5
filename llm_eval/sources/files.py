"""Local files: one per dataset or one per subset, found in the dataset folders and pinned by their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_eval.errors import InvalidData, MissingSource
from llm_eval.fingerprint import sha256_hex
from llm_eval.settings import Settings, find
from llm_eval.sources.formats import lines, parse
from llm_eval.sources.pieces import Piece, Row
from llm_eval.specs import DatasetSpec, FilesSource, Lookup, SourceFile


class IncompleteSource(MissingSource):
    """Some files of a source are there and some are not: never a reason to read something else instead."""


def pin(source: FilesSource, dataset: DatasetSpec, settings: Settings) -> tuple[SourceFile, ...]:
    """Every file that `read` will open, with its hash, in a fixed order.

    Few-shot files are pinned where they are there; they must be only if the prompt picks examples from them.
    Raises MissingSource if no file is there, IncompleteSource if only some are.
    """
    few_shot = [path for _, path in _expand(source.few_shot_path, dataset)]
    picks = dataset.prompt.few_shot is not None and not dataset.prompt.few_shot.examples
    needed = [path for _, path in _expand(source.path, dataset)]
    beside = [*source.extra_columns.values(), *(lookup.path for lookup in source.lookups.values())]
    needed += [path for pattern in beside for _, path in _expand(pattern, dataset)]
    if picks or all(find(path, settings.datasets) for path in few_shot):
        needed += few_shot
    paths = list(dict.fromkeys(needed))
    absent = [path for path in paths if find(path, settings.datasets) is None]
    places = ", ".join(map(str, settings.datasets)) or "any folder: LLM_EVAL_DATASETS is not set"
    if len(absent) == len(paths):
        raise MissingSource(f"{absent[0]} is not in {places}")
    if absent:
        more = f" (and {len(absent) - 3} more)" if len(absent) > 3 else ""
        raise IncompleteSource(
            f"{len(absent)} of {len(paths)} files are absent: {', '.join(absent[:3])}{more}. Looked in {places}. "
            "A part of a benchmark is not the benchmark: complete the folder, or take it away to use another source."
        )
    return tuple(SourceFile(path=path, sha256=sha256_hex(_bytes(path, settings))) for path in paths)


def read(
    source: FilesSource, dataset: DatasetSpec, pinned: Sequence[SourceFile], settings: Settings
) -> tuple[list[Piece], list[Piece]]:
    """Questions and few-shot rows, one piece per file. Raises InvalidData if a file is not what was pinned."""
    hashes = {file.path: file.sha256 for file in pinned}
    questions = [_question_piece(source, subset, hashes, settings) for subset, _ in _expand(source.path, dataset)]
    few_shot = [
        Piece(subset, parse(path, _pinned_bytes(path, hashes, settings), source.header))
        for subset, path in _expand(source.few_shot_path, dataset)
        if path in hashes
    ]
    return questions, few_shot


def first_rows(source: FilesSource, dataset: DatasetSpec, pinned: Sequence[SourceFile], settings: Settings) -> Piece:
    """The first file's rows."""
    subset = next(subset for subset, _ in _expand(source.path, dataset))
    return _question_piece(source, subset, {file.path: file.sha256 for file in pinned}, settings)


def _question_piece(source: FilesSource, subset: str, hashes: Mapping[str, str], settings: Settings) -> Piece:
    path = source.path.replace("{subset}", subset)
    rows = parse(path, _pinned_bytes(path, hashes, settings), source.header)
    for column, pattern in source.extra_columns.items():
        beside = pattern.replace("{subset}", subset)
        values = lines(beside, _pinned_bytes(beside, hashes, settings))
        if len(values) != len(rows):
            raise InvalidData(
                f"{beside}: {len(values)} lines for the {len(rows)} rows of {path} (extra_columns.{column})"
            )
        rows = [{**row, column: value} for row, value in zip(rows, values, strict=True)]
    for column, lookup in source.lookups.items():
        found = _looked_up(lookup, lookup.path.replace("{subset}", subset), hashes, settings)
        if missing := [row for row in rows if lookup.key not in row]:
            raise InvalidData(f"{path}: lookups.{column} goes by {lookup.key!r}, which {len(missing)} rows lack")
        rows = [{**row, column: found.get(row[lookup.key])} for row in rows]
    return Piece(subset, rows)


def _looked_up(lookup: Lookup, path: str, hashes: Mapping[str, str], settings: Settings) -> dict[Any, Row]:
    found: dict[Any, Row] = {}
    for place, row in enumerate(parse(path, _pinned_bytes(path, hashes, settings)), start=1):
        if lookup.key not in row or not isinstance(row[lookup.key], str | int):
            raise InvalidData(f"{path}, row {place}: there is no {lookup.key!r} to look it up by")
        if row[lookup.key] in found:
            raise InvalidData(f"{path}, row {place}: {lookup.key!r} {row[lookup.key]!r} is there twice")
        found[row[lookup.key]] = row
    return found


def _expand(pattern: str | None, dataset: DatasetSpec) -> Iterator[tuple[str, str]]:
    if pattern is None:
        return
    if "{subset}" not in pattern:
        yield "", pattern
        return
    for subset in dataset.subsets:
        yield subset, pattern.replace("{subset}", subset)


def _bytes(path: str, settings: Settings) -> bytes:
    place = find(path, settings.datasets)
    if place is None:
        raise MissingSource(f"{path} was there when the run was planned, and is gone. Plan the run again.")
    try:
        return Path(place).read_bytes()
    except OSError as error:
        raise InvalidData(f"{place}: cannot be read: {error.strerror}") from error


def _pinned_bytes(path: str, hashes: Mapping[str, str], settings: Settings) -> bytes:
    data = _bytes(path, settings)
    if sha256_hex(data) != hashes.get(path):
        raise InvalidData(
            f"{find(path, settings.datasets)}: changed since the run was planned (its hash is another one). "
            "Plan a new run, or put the file back."
        )
    return data
