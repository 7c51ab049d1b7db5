"""Two runs' headlines on the samples that both of them answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from llm_eval import layout, results, storage
from llm_eval.errors import InputError
from llm_eval.metrics import get_metric
from llm_eval.metrics.aggregate import over_attempts
from llm_eval.paired import Difference, Resampled, RightOrWrong, resample
from llm_eval.records import Result, Score

Verdict = Literal["better", "worse", "no clear difference"]
SampleKey = tuple[str, str]  # subset, sample id
_HINTS = {
    "dataset_version": "The dataset's rows, prompt, decoding or scoring changed: evaluate both on one version.",
    "variant": "Variants ask in different ways: compare runs of the same one.",
}
_SAME = ("dataset", "variant", "dataset_version", "mode", "metric", "judge", "aggregation", "unit", "higher_is_better")


@dataclass(frozen=True, slots=True)
class Measured:
    """A run's headline, and what each sample contributes to it over its attempts: None where all of them failed.

    A contribution is the value alone, or the statistics of a corpus metric.
    """

    headline: Result
    samples: Mapping[SampleKey, tuple[float, ...] | None]
    shares: Mapping[str, float]
    """Of each subset in a mean of groups; {} for other kinds of mean."""


class Counts(NamedTuple):
    """Samples: `paired` have a value in both runs, `discordant` of them another one in each; `failed` in either of the
    two through no fault of the model; only_first, only_second were asked in one run alone. None but `paired` count."""

    paired: int
    discordant: int
    failed: int
    only_first: int
    only_second: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """second minus first, in the metric's unit; a limited run is compared on what it has in common with the other."""

    first: Result
    second: Result
    counts: Counts
    evidence: RightOrWrong | Resampled
    difference: Difference

    @property
    def method(self) -> str:
        return "McNemar" if isinstance(self.evidence, RightOrWrong) else "bootstrap"

    def p_drop(self, max_drop: float) -> float:
        """One-sided p value of "the second run is worse by no more than `max_drop`": see specs.Gate for its unit."""
        row = self.second
        return self.evidence.p_drop(max_drop, row.higher_is_better, relative=row.unit != "fraction")


def measured(root: str, headline: Result) -> Measured:
    """What a run has published of the samples behind its headline row, or behind the row that stands in for it where
    its metric is compared by another one. Raises InputError."""
    headline = _compared_by(root, headline)
    corpus = get_metric(headline.metric).corpus
    attempts: dict[SampleKey, list[Score]] = {}
    for score in results.scores(root, headline.run_id, headline.model, headline.dataset):
        if score.metric == headline.metric:
            attempts.setdefault((score.subset, score.sample_id), []).append(score)
    over = {key: over_attempts(scores) for key, scores in attempts.items()}
    valued = {key: sample for key, sample in over.items() if sample.status != "failed"}
    if corpus is not None and not all(sample.statistics for sample in valued.values()):
        raise InputError(
            f"run {headline.run_id!r} of {headline.model} on {results.reference(headline)} was published without what "
            f"{headline.metric!r} is computed from. Publish it again: llm-eval publish RUN_URI --force"
        )
    samples: dict[SampleKey, tuple[float, ...] | None] = dict.fromkeys(over)
    samples |= {key: (s.value,) if corpus is None else s.statistics for key, s in valued.items()}
    return Measured(headline, samples, _shares(root, headline) if headline.aggregation == "groups" else {})


def _compared_by(root: str, headline: Result) -> Result:
    """The row of the same run and kind of mean whose metric runs are compared by."""
    other = get_metric(headline.metric).compared_by
    if other is None:
        return headline
    for row in results.run(root, headline.run_id):
        place = (row.model, row.dataset, row.variant, row.metric, row.subset, row.aggregation)
        if place == (headline.model, headline.dataset, headline.variant, other, headline.subset, headline.aggregation):
            return row
    raise InputError(f"{named(headline)} has published no {other}, by which {headline.metric} is compared")


def _shares(root: str, headline: Result) -> dict[str, float]:
    """What part of the mean of the groups' means each subset has: as the run was planned."""
    run_uri = layout.run_uri(root, headline.model, results.reference(headline), headline.run_id)
    address = layout.join(run_uri, "run.json")
    if not storage.exists(address):
        raise InputError(f"{address} is gone, which says what the groups of {named(headline)} are")
    groups = storage.read_json(address)["dataset"]["groups"]
    shares: dict[str, float] = {}
    for members in groups.values():
        for subset in members:
            shares[subset] = shares.get(subset, 0.0) + 1 / len(groups) / len(members)
    return shares


def compare(first: Measured, second: Measured, confidence: float = 0.95) -> Comparison:
    """How the second run's headline differs from the first's, its own kind of mean (macro, micro) kept.

    Right or wrong, pooled: McNemar's test. All else: paired bootstrap, which draws samples, not attempts; for a macro
    mean within each subset. Raises InputError where the two are not about the same thing, or have no samples in common.
    """
    refuse_different(first.headline, second.headline)
    keys = sorted(first.samples.keys() & second.samples.keys())
    pairs = {
        key: (a, b) for key in keys if (a := first.samples[key]) is not None and (b := second.samples[key]) is not None
    }
    if len(pairs) < 2:
        raise InputError(
            f"{named(first.headline)} and {named(second.headline)} have {len(pairs)} scored samples in common; "
            "it takes two to compare"
        )
    counts = Counts(
        paired=len(pairs),
        discordant=sum(a != b for a, b in pairs.values()),
        failed=len(keys) - len(pairs),
        only_first=len(first.samples) - len(keys),
        only_second=len(second.samples) - len(keys),
    )
    evidence = _evidence(second, pairs)
    return Comparison(first.headline, second.headline, counts, evidence, evidence.difference(confidence))


def _evidence(
    measured: Measured, pairs: Mapping[SampleKey, tuple[tuple[float, ...], tuple[float, ...]]]
) -> RightOrWrong | Resampled:
    import numpy

    headline = measured.headline
    corpus = get_metric(headline.metric).corpus
    is_macro = headline.aggregation in ("macro", "groups")
    if corpus is None and not is_macro and all(v in (0.0, 1.0) for pair in pairs.values() for (v,) in pair):
        found = [(a, b) for (a,), (b,) in pairs.values()]
        return RightOrWrong(len(found), found.count((1.0, 1.0)), found.count((1.0, 0.0)), found.count((0.0, 1.0)))
    strata: dict[str, list[tuple[tuple[float, ...], tuple[float, ...]]]] = {}
    for (subset, _), pair in pairs.items():
        strata.setdefault(subset if is_macro else "", []).append(pair)
    if headline.aggregation == "groups":
        strata = {subset: pairs for subset, pairs in strata.items() if subset in measured.shares}
    weights = [measured.shares.get(subset, 1.0) for subset in strata]
    drawn_from = [numpy.asarray(stratum, dtype=numpy.float64) for stratum in strata.values()]
    return resample(drawn_from, corpus, weights=weights)


def verdict(comparison: Comparison, p_holm: float, confidence: float) -> Verdict:
    """Of the second run, as seen from the first; p_holm: its p value, corrected over whatever is judged together."""
    if p_holm >= 1 - confidence:
        return "no clear difference"
    return "better" if (comparison.difference.value > 0) == comparison.second.higher_is_better else "worse"


def refuse_different(first: Result, second: Result) -> None:
    """Raises InputError unless the two headlines measure the same thing in the same way."""
    for name in _SAME:
        a, b = getattr(first, name), getattr(second, name)
        if a != b:
            raise InputError(
                f"{named(first)} and {named(second)} cannot be compared: {name} is {a!r} in the one, {b!r} in the "
                f"other. {_HINTS.get(name, 'Compare runs that agree in it.')}"
            )


def named(row: Result) -> str:
    """A run as messages call it."""
    model = f"{row.model}@{row.checkpoint}" if row.checkpoint else row.model
    return f"run {row.run_id} of {model} on {results.reference(row)}"
