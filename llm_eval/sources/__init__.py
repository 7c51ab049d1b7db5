"""Where raw rows come from. A dataset lists its sources; a run reads the first that is available, pinned by content."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from llm_eval.errors import InvalidData, InvalidSpec, MissingSource
from llm_eval.sampling import Rows, to_samples
from llm_eval.settings import Settings
from llm_eval.sources import files, huggingface
from llm_eval.sources.pieces import Piece, Row
from llm_eval.specs import DatasetSpec, FilesSource, ResolvedSource, Source


class RawRows(NamedTuple):
    """What one source holds: the questions to ask, and the rows that few-shot examples are picked from (often none)."""

    questions: Rows
    few_shot: Rows


def resolve(dataset: DatasetSpec, settings: Settings) -> ResolvedSource:
    """The first source that is available, pinned: the hash of every file, or the hub's commit.

    A files source whose columns do not fit its fields is passed over: other layouts of a benchmark have equal file
    names. Raises MissingSource if nothing is there (it lists every place looked at) or if a part of a source is
    absent, InvalidSpec if nothing fits, InvalidData for a file that cannot be read.
    """
    reasons: list[str] = []
    misfits = 0
    for index, source in enumerate(dataset.sources):
        _check_subsets(dataset, source)
        try:
            if isinstance(source, FilesSource):
                pinned = ResolvedSource(index=index, files=files.pin(source, dataset, settings))
                _check_fit(dataset, source, pinned, settings)
            else:
                commit, content = huggingface.pin(source, settings)
                pinned = ResolvedSource(index=index, revision=commit, files=content)
            return pinned
        except files.IncompleteSource as error:
            raise files.IncompleteSource(f"dataset {dataset.name!r}: {error}") from error
        except MissingSource as error:
            reasons.append(f"  {source.kind} {source.path}: {error}")
        except InvalidSpec as error:
            reasons.append(f"  {source.kind} {source.path}: its columns do not fit: {error}")
            misfits += 1
    listed = "\n".join([f"dataset {dataset.name!r}: no usable source. Looked at:", *reasons])
    if misfits:
        raise InvalidSpec(f"{listed}\nMend `fields` in the dataset's YAML, or give it one more source for this layout.")
    raise MissingSource(
        f"{listed}\nSet LLM_EVAL_DATASETS to the folder that the first path starts in (several folders: separated by "
        f"{os.pathsep!r}), or mend `sources` in the dataset's YAML."
    )


def read(dataset: DatasetSpec, resolved: ResolvedSource, settings: Settings) -> RawRows:
    """All rows of the planned source, subset by subset in the dataset's order, each in its file's order.

    `samples_per_subset` cuts the questions, never the few-shot rows. Raises InvalidData if a file is no longer what
    was pinned or cannot be read, MissingSource if it is gone, StorageError if the hub went away.
    """
    source = dataset.sources[resolved.index]
    if isinstance(source, FilesSource):
        questions, few_shot = files.read(source, dataset, resolved.files, settings)
    else:
        questions, few_shot = huggingface.read(source, dataset, resolved, settings)
    fields = source.fields or dataset.fields
    where = f"dataset {dataset.name!r}, {source.kind} {source.path}"
    asked = _by_subset(questions, dataset, source.subset_column, where)
    if absent := [s for s in dataset.subsets if s not in {subset for subset, _ in asked}]:
        raise InvalidData(f"{where}: no rows of subset {', '.join(map(repr, absent))}, which the dataset's YAML lists")
    if not asked:
        raise InvalidData(f"{where}: there are no rows")
    return RawRows(
        Rows(fields, asked).first_of_each_subset(dataset.samples_per_subset),
        Rows(fields, _by_subset(few_shot, dataset, source.subset_column, where)),
    )


def _by_subset(
    pieces: Iterable[Piece], dataset: DatasetSpec, column: str | None, where: str
) -> tuple[tuple[str, Row], ...]:
    if column is None:
        return tuple((piece.subset, row) for piece in pieces for row in piece.rows)
    by_subset: dict[str, list[Row]] = {subset: [] for subset in dataset.subsets}
    for piece in pieces:
        for place, row in enumerate(piece.rows):
            if column not in row:
                raise InvalidData(
                    f"{where}: no column {column!r} (subset_column). Columns: {', '.join(map(str, row))}."
                )
            if (subset := str(row[column])) not in by_subset:
                raise InvalidData(
                    f"{where}: row {place} (from 0) has {column} {subset!r}, which is not among the dataset's subsets: "
                    f"{', '.join(by_subset)}"
                )
            by_subset[subset].append(row)
    return tuple((subset, row) for subset, rows in by_subset.items() for row in rows)


def _check_subsets(dataset: DatasetSpec, source: Source) -> None:
    """Every row must belong to exactly one subset where there are subsets, and to none where there are not."""
    where = f"dataset {dataset.name!r}, {source.kind} {source.path}"
    patterns = (source.path,) if isinstance(source, FilesSource) else (source.config or "", source.split)
    ways = any("{subset}" in p for p in patterns) + (source.subset_column is not None)
    key = "path" if isinstance(source, FilesSource) else "config"
    if dataset.subsets and ways != 1:
        raise InvalidSpec(f"{where}: the dataset has subsets; write either {{subset}} in `{key}`, or `subset_column`")
    if ways and not dataset.subsets:
        raise InvalidSpec(f"{where}: {{subset}} and `subset_column` need the dataset's `subsets` listed")


def _check_fit(dataset: DatasetSpec, source: FilesSource, pinned: ResolvedSource, settings: Settings) -> None:
    first = files.first_rows(source, dataset, pinned.files, settings)
    to_samples(dataset, Rows(source.fields or dataset.fields, ((first.subset, first.rows[0]),)))
