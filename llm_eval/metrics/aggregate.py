"""From scores to published numbers: per subset, per group and for the whole data set, each with its counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from llm_eval.errors import EmptyScores
from llm_eval.metrics import Metric
from llm_eval.records import Score, Status
from llm_eval.specs import DatasetSpec
from llm_eval.statistics import Estimate, bootstrap, macro, mean_estimate, wilson

WHOLE = "all"
Aggregated = Literal["samples", "macro", "micro", "groups"]
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One metric over one subset, group or the whole; samples = scored + no_answer + failed.

    A sample of several attempts is `scored` if one attempt is, else `no_answer` if one is, else `failed`.
    """

    subset: str
    aggregation: Aggregated
    headline: bool
    estimate: Estimate
    samples: int
    scored: int
    no_answer: int
    failed: int
    bounds: Bounds | None = None
    """The value had all failed samples come out as low, or as high, as a sample can."""


@dataclass(frozen=True, slots=True)
class SampleScore:
    """One sample over its attempts: the mean value and the summed statistics of those that have any."""

    status: Status
    value: float
    statistics: tuple[float, ...]


def aggregate(
    scores: Sequence[Score], metric: Metric, dataset: DatasetSpec, extremes: Bounds | None = None
) -> list[Aggregate]:
    """Rows of one metric: each subset that has scores, macro and micro of each group, then of `all`, and the mean of
    the groups where that is the headline. A metric with an `estimate` has one row, of all samples.

    A data set without subsets has the one row `all`. Failed samples leave the means and stay in the counts; a subset or
    group that has nothing else has no row, and `all` counts its failures. `headline` marks the row of `all` that the
    data set declares. Limited runs: groups are made of the subsets there are. The order of `scores` does not matter.
    extremes: the least and the greatest value of a sample, where the value is a mean.
    Raises EmptyScores if nothing has a value.
    """
    by_subset = _samples(scores)
    everything = [s for samples in by_subset.values() for s in samples]
    if not _has_value(everything):
        raise EmptyScores(
            f"data set {dataset.name!r}, metric {metric.name!r}: none of {len(everything)} samples has a score, so "
            "there is nothing to average. The explanations in scores.parquet say why."
        )
    if not dataset.subsets:
        bounds = _bounds(everything, metric, extremes)
        return [_row(WHOLE, "samples", True, everything, _estimate(everything, metric), bounds)]
    if metric.estimate is not None:  # a regression over all samples; within a subset it would be another one
        bounds = _bounds(everything, metric, extremes)
        return [_row(WHOLE, "micro", True, everything, _estimate(everything, metric), bounds)]
    order = [s for s in dataset.subsets if s in by_subset] + sorted(set(by_subset) - set(dataset.subsets))
    estimates = {name: _estimate(by_subset[name], metric) for name in order if _has_value(by_subset[name])}
    limits = {name: _bounds(by_subset[name], metric, extremes) for name in order}
    rows = [
        _row(name, "samples", False, by_subset[name], estimate, limits[name]) for name, estimate in estimates.items()
    ]
    of_groups: list[Aggregate] = []
    for group, members in [*dataset.groups.items(), (WHOLE, tuple(order))]:
        pooled = [s for name in members for s in by_subset.get(name, ())]
        if _has_value(pooled):
            marked = dataset.headline if group == WHOLE else None
            there = [name for name in members if name in by_subset]
            over_subsets = macro([estimates[name] for name in there if name in estimates])
            mean = _mean_bounds([limits[name] for name in there])
            rows.append(_row(group, "macro", marked == "macro", pooled, over_subsets, mean))
            of_groups += [rows[-1]] * (group != WHOLE)
            pooled_bounds = _bounds(pooled, metric, extremes)
            rows.append(_row(group, "micro", marked == "micro", pooled, _estimate(pooled, metric), pooled_bounds))
    if dataset.headline == "groups":
        over_groups = macro([row.estimate for row in of_groups])
        parts = [[limits[name] for name in members if name in limits] for members in dataset.groups.values()]
        bounds = _mean_bounds([_mean_bounds(part) for part in parts if part])
        grouped = {name for members in dataset.groups.values() for name in members}
        pooled = [s for name in order if name in grouped for s in by_subset[name]]
        rows.append(_row(WHOLE, "groups", True, pooled, over_groups, bounds))
    return rows


def _bounds(samples: Sequence[SampleScore], metric: Metric, extremes: Bounds | None) -> Bounds | None:
    unknown = sum(s.status == "failed" for s in samples)
    if not samples or (metric.is_mean and extremes is None):
        return None
    if metric.is_mean and extremes is not None:
        known = math.fsum(s.value for s in samples if s.status != "failed")
        return (known + unknown * extremes[0]) / len(samples), (known + unknown * extremes[1]) / len(samples)
    rows = [s.statistics for s in samples if s.status != "failed"]
    if metric.worst_and_best is None or not rows:
        return None
    worst, best = metric.worst_and_best(rows)
    low, high = (_point([*rows, *([tuple(row)] * unknown)], metric) for row in (worst, best))
    return min(low, high), max(low, high)


def _point(rows: Sequence[Sequence[float]], metric: Metric) -> float:
    """The value alone."""
    if metric.estimate is not None:
        return metric.estimate(rows, resamples=2).value
    assert metric.corpus is not None  # it is no mean
    return metric.corpus([math.fsum(column) for column in zip(*rows, strict=True)])


def _mean_bounds(several: Sequence[Bounds | None]) -> Bounds | None:
    known = [bounds for bounds in several if bounds is not None]
    if not known or len(known) < len(several):
        return None
    lows, highs = zip(*known, strict=True)
    return math.fsum(lows) / len(known), math.fsum(highs) / len(known)


def _samples(scores: Iterable[Score]) -> dict[str, list[SampleScore]]:
    """Samples by subset, ordered by id: a bootstrap must not depend on the order in which shards were written."""
    attempts: dict[tuple[str, str], list[Score]] = {}
    for score in sorted(scores, key=lambda s: (s.subset, s.sample_id, s.attempt)):
        attempts.setdefault((score.subset, score.sample_id), []).append(score)
    found: dict[str, list[SampleScore]] = {}
    for (subset, _), of_sample in attempts.items():
        found.setdefault(subset, []).append(over_attempts(of_sample))
    return found


def over_attempts(attempts: Sequence[Score]) -> SampleScore:
    """What one sample contributes; with status `failed`, the value NaN, where none of its attempts has a value."""
    valued = [a for a in attempts if a.value is not None]
    if not valued:
        return SampleScore("failed", math.nan, ())
    return SampleScore(
        "scored" if any(a.status == "scored" for a in valued) else "no_answer",
        math.fsum(a.value for a in valued if a.value is not None) / len(valued),
        tuple(map(math.fsum, zip(*(a.statistics for a in valued), strict=True))),
    )


def _has_value(samples: Iterable[SampleScore]) -> bool:
    return any(s.status != "failed" for s in samples)


def _estimate(samples: Iterable[SampleScore], metric: Metric) -> Estimate:
    """The metric over those samples that did not fail.

    Values that are all 0 or 1 get the Wilson interval whatever the metric, since Student's has no width where all are
    equal; shares between them (the mean of several attempts) get Student's.
    """
    valued = [s for s in samples if s.status != "failed"]
    if metric.estimate is not None:
        return metric.estimate([s.statistics for s in valued])
    if metric.corpus is not None:
        return bootstrap([s.statistics for s in valued], metric.corpus)
    values = [s.value for s in valued]
    bounds = (0.0, 1.0) if metric.unit == "fraction" else None
    if bounds and all(v in bounds for v in values):
        return wilson(round(sum(values)), len(values))
    return mean_estimate(values, bounds)


def _row(
    subset: str,
    aggregation: Aggregated,
    headline: bool,
    samples: Sequence[SampleScore],
    estimate: Estimate,
    bounds: Bounds | None,
) -> Aggregate:
    counts = Counter(s.status for s in samples)
    numbers = (len(samples), counts["scored"], counts["no_answer"], counts["failed"])
    return Aggregate(subset, aggregation, headline, estimate, *numbers, bounds)
