"""A model's results in the order in which its checkpoints were created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_eval import results
from llm_eval.comparison.runs import Comparison, Measured, compare, measured
from llm_eval.errors import InputError
from llm_eval.paired import holm
from llm_eval.records import Result


@dataclass(frozen=True, slots=True)
class Step:
    """One checkpoint's headline. change: from the point before it, None for the first and where the two cannot be
    compared; p_holm is corrected over the trend's changes."""

    row: Result
    change: Comparison | None = None
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class Trend:
    """One dataset over a model's checkpoints, oldest first. chance: what guessing would score, None where unknown."""

    dataset: str
    steps: tuple[Step, ...]
    chance: float | None = None


def history(root: str, model: str, datasets: Sequence[str] = ()) -> dict[str, list[Result]]:
    """Dataset reference → headline rows of its checkpoints, oldest first; one run each, a full one before a limited.

    References in the order of `datasets`, then by name. A run with overridden catalog values counts only where there is
    no other. A model without checkpoints has one row of each.
    """
    rows = results.summary(root, models=(model,), datasets=datasets)
    plain = {results.pair_of(row) for row in rows if not _is_overridden(row)}
    found: dict[str, list[Result]] = {}
    for row in results.chosen([row for row in rows if not _is_overridden(row) or results.pair_of(row) not in plain]):
        if row.headline:
            found.setdefault(results.reference(row), []).append(row)
    rank = {name: place for place, name in enumerate(datasets)}
    return {
        reference: sorted(found[reference], key=lambda row: results.moment(row.checkpoint_created_at))
        for reference in sorted(found, key=lambda r: (rank.get(r, len(rank)), r))
    }


def is_comparable(older: Result, row: Result) -> bool:
    """Whether `older` is a full result of the same version and measure, made as the catalog says."""
    same = ("dataset_version", "metric", "judge", "aggregation", "mode")
    is_full = older.sample_limit is None and not _is_overridden(older)
    return is_full and all(getattr(older, name) == getattr(row, name) for name in same)


def _is_overridden(row: Result) -> bool:
    return bool(row.params.get("overrides"))


def trends(root: str, model: str, datasets: Sequence[str] = (), confidence: float = 0.95) -> list[Trend]:
    """The trend of each dataset that the model has results on; Holm's correction is over the steps of one dataset."""
    return [_trend(root, reference, rows, confidence) for reference, rows in history(root, model, datasets).items()]


def _trend(root: str, reference: str, rows: Sequence[Result], confidence: float) -> Trend:
    changes: list[Comparison | None] = []
    before: Measured | None = None
    for row in rows:
        now = _measured(root, row)
        changes.append(_change(before, now, confidence))
        before = now
    corrected = iter(holm([change.difference.p_value for change in changes if change is not None]))
    steps = [Step(row, c, next(corrected) if c else None) for row, c in zip(rows, changes, strict=True)]
    return Trend(reference, tuple(steps), _chance(root, rows[-1]))


def _measured(root: str, row: Result) -> Measured | None:
    """None where the samples are gone, or were published by an older version: the value is still worth showing."""
    try:
        return measured(root, row)
    except InputError:
        return None


def _change(before: Measured | None, now: Measured | None, confidence: float) -> Comparison | None:
    if before is None or now is None:
        return None
    try:
        return compare(before, now, confidence)
    except InputError:
        return None


def _chance(root: str, row: Result) -> float | None:
    """One over the number of choices, on average; None where the metric is not about picking one of them."""
    if "accuracy" not in row.metric or row.unit != "fraction":
        return None
    try:
        found = results.samples(root, row.run_id, row.model, row.dataset)
    except InputError:
        return None
    shares = [1 / sample.choices if sample.choices else 0.0 for sample in found if sample.metric == row.metric]
    return sum(shares) / len(shares) if shares and all(shares) else None
