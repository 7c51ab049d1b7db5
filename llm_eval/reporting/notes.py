"""Footnotes: whatever a reader must know so that no number looks better founded than it is."""

from __future__ import annotations

from collections.abc import Iterator

from llm_eval.records import Result
from llm_eval.reporting.figures import written
from llm_eval.reporting.leaderboard import ABSENT, FAILED, LIMITED, OVERRIDDEN, Column, Leaderboard
from llm_eval.results import reference


def notes(board: Leaderboard) -> list[str]:
    """One sentence each, in the order: marked cells, empty cells, kinds of mean, directions."""
    if not board.cells:
        return ["No results yet.", *_unseen(board)]
    return [*_marked(board), *_absent(board), *_unseen(board), *_macro(board), *_lower(board)]


def _wholes(board: Leaderboard) -> Iterator[tuple[Column, Result]]:
    """One cell per column, dataset and version: its run's first whole line, or first line where there is no whole."""
    said: set[tuple[str, str, Column]] = set()
    for line in sorted(board.lines, key=lambda line: line.part is not None):
        for column in board.columns:
            key = (line.dataset, line.version, column)
            if (line, column) in board.cells and key not in said:
                said.add(key)
                yield column, board.cells[line, column]


def _marked(board: Leaderboard) -> Iterator[str]:
    failed, limited, overridden = [], [], []
    for column, row in _wholes(board):
        place = f"{column.label} on {reference(row)}"
        if row.failed:
            between = (
                ""
                if row.bound_low is None or row.bound_high is None
                else (f" ({written(row.bound_low, row.unit)} to {written(row.bound_high, row.unit)} with them)")
            )
            failed.append(f"{place}, {row.failed:,} of {row.samples:,} samples{between}")
        if row.sample_limit is not None:
            limited.append(f"{place}, {_sampled(board, row)}")
        if changed := row.params.get("overrides"):
            overridden.append(f"{place}, {' '.join(sorted(changed))}")
    if failed:
        yield f"{FAILED} samples failed through no fault of the model, the value leaves them out: {'; '.join(failed)}."
    if limited:
        yield f"{LIMITED} asked only some of the samples: {'; '.join(limited)}."
    if overridden:
        yield f"{OVERRIDDEN} run with catalog values changed for it: {'; '.join(overridden)}."


def _sampled(board: Leaderboard, row: Result) -> str:
    full = board.full_samples(row)
    return f"{row.samples:,} of {full:,} samples" if full else f"{row.samples:,} samples (limit {row.sample_limit:,})"


def _absent(board: Leaderboard) -> Iterator[str]:
    said = [f"{column.label} on {', '.join(names)}" for column in board.columns if (names := _missing(board, column))]
    if said:
        yield f"{ABSENT} no result: {'; '.join(said)}."


def _missing(board: Leaderboard, column: Column) -> list[str]:
    """What a column has no result on: whole datasets by name, with the version where there are several, else lines."""
    names = []
    datasets = dict.fromkeys((line.dataset, line.version) for line in board.lines)
    versions = [dataset for dataset, _ in datasets]
    for dataset, version in datasets:
        lines = [line for line in board.lines if (line.dataset, line.version) == (dataset, version)]
        empty = [line for line in lines if (line, column) not in board.cells]
        if len(empty) == len(lines):
            names.append(f"{dataset} {version}" if versions.count(dataset) > 1 else dataset)
        else:
            names += [line.label if line.part is not None else f"{dataset} {line.metric_label}" for line in empty]
    return names


def _unseen(board: Leaderboard) -> Iterator[str]:
    if board.unseen:
        yield f"No model has a result on: {', '.join(board.unseen)}."


def _macro(board: Leaderboard) -> Iterator[str]:
    kinds = {line.dataset: line.aggregation for line in board.lines if line.part is None}
    if names := [dataset for dataset, kind in kinds.items() if kind == "macro"]:
        others = " The others are means over samples." if len(names) < len(kinds) else ""
        yield f"Macro, the mean over subsets of their means: {', '.join(names)}.{others}"


def _lower(board: Leaderboard) -> Iterator[str]:
    if names := dict.fromkeys(line.metric_label for line in board.lines if not line.higher_is_better):
        yield f"Lower is better: {', '.join(names)}."
