"""A checkpoint's results on a suite, each with its difference to older checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_eval import results
from llm_eval.comparison.history import history, is_comparable
from llm_eval.comparison.runs import Comparison, Counts, Measured, Verdict, compare, measured, verdict
from llm_eval.errors import InputError
from llm_eval.paired import holm
from llm_eval.records import Result
from llm_eval.specs import Gate, SuiteSpec

CONFIDENCE = 0.95  # of a report without a gate


@dataclass(frozen=True, slots=True)
class Change:
    """From `checkpoint`, an older one, to the report's: values before and after on the samples that both answered.

    p_holm: corrected over the report's datasets; the verdict goes by it. counts: first is before, second after.
    """

    checkpoint: str
    run_id: str
    before: float
    after: float
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_holm: float
    verdict: Verdict
    method: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class GateCheck:
    """What the gate compares with, and how sure it is that more was lost than it allows.

    candidates: how many checkpoints `best` was chosen from, 1 otherwise; p_value is already corrected for them, as the
    best of many owes part of its value to luck (Bonferroni). p_holm: corrected over the report's datasets as well.
    """

    change: Change
    candidates: int
    p_value: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class Row:
    """One dataset. previous, gate: None where there is nothing to compare with; the report's notes say why."""

    dataset: str
    metric: str
    unit: str
    higher_is_better: bool
    aggregation: str
    value: float
    ci_low: float
    ci_high: float
    samples: int
    failed: int
    sample_limit: int | None
    run_id: str
    previous: Change | None
    gate: GateCheck | None


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """missing: dataset → why it has no row. gate: the one that the rows' checks are for, None without."""

    suite: str
    model: str
    checkpoint: str
    checkpoint_created_at: str | None
    confidence: float
    rows: tuple[Row, ...]
    missing: dict[str, str]
    notes: tuple[str, ...]
    gate: Gate | None


def build_report(
    root: str, suite: SuiteSpec, model: str, checkpoint: str, missing: Mapping[str, str] | None = None
) -> CheckpointReport:
    """The suite's datasets in its order, each compared with the newest checkpoint before it that has a full result.

    missing: datasets that the caller knows to be absent, and why ("late", "failed"); others without a result are said
    to have none. Nothing is written.
    """
    confidence = suite.gate.confidence if suite.gate else CONFIDENCE
    past = history(root, model, suite.datasets)
    gone = {name: missing[name] for name in suite.datasets if name in (missing or {})} if missing else {}
    subjects: list[_Subject] = []
    notes: list[str] = []
    for name in (name for name in suite.datasets if name not in gone):
        mine = [row for row in past.get(name, ()) if row.checkpoint == checkpoint]
        if mine:
            subjects.append(_subject(root, mine[-1], past[name], suite.gate, confidence, notes))
        else:
            gone[name] = "no result"
    rows = _rows(subjects, confidence)
    created = next((s.row.checkpoint_created_at for s in subjects), None)
    return CheckpointReport(suite.name, model, checkpoint, created, confidence, rows, gone, tuple(notes), suite.gate)


@dataclass(frozen=True, slots=True)
class _Subject:
    """One dataset before Holm's correction, which needs all of them."""

    row: Result
    previous: Comparison | None
    gate: Comparison | None
    candidates: int
    p_drop: float


def _subject(
    root: str, row: Result, past: Sequence[Result], gate: Gate | None, confidence: float, notes: list[str]
) -> _Subject:
    name = results.reference(row)
    created = results.moment(row.checkpoint_created_at)
    others = [other for other in past if other.checkpoint != row.checkpoint]
    older = [other for other in others if results.moment(other.checkpoint_created_at) < created]
    comparable = [other for other in older if is_comparable(other, row)]
    if older and not comparable:
        notes.append(f"{name}: no older checkpoint has a full result of version {row.dataset_version} to compare with.")
    try:
        now = measured(root, row)
        row = now.headline
    except InputError as error:
        notes.append(f"{name}: {error}")
        return _Subject(row, None, None, 1, 1.0)
    compared: dict[str, Comparison | None] = {}

    def change(other: Result | None) -> Comparison | None:
        if other is None:
            return None
        if other.run_id not in compared:
            compared[other.run_id] = _compared(root, other, now, confidence, notes)
        return compared[other.run_id]

    previous = change(comparable[-1] if comparable else None)
    if gate is None:
        return _Subject(row, previous, None, 1, 1.0)
    candidates = _candidates(gate, comparable, [o for o in others if is_comparable(o, row)])
    pick = max if row.higher_is_better else min
    judged = change(pick(candidates, key=lambda other: other.value) if candidates else None)
    if judged is None:
        if gate.against != row.checkpoint:
            notes.append(f"{name}: not checked by the gate, there is no full result of {_what(gate)} to compare with.")
        return _Subject(row, previous, None, 1, 1.0)
    p_drop = min(1.0, len(candidates) * judged.p_drop(gate.max_drop))
    return _Subject(row, previous, judged, len(candidates), p_drop)


def _candidates(gate: Gate, older: Sequence[Result], others: Sequence[Result]) -> list[Result]:
    if gate.against == "previous":
        return list(older[-1:])
    if gate.against == "best":
        return list(older)
    return [other for other in others if other.checkpoint == gate.against][-1:]


def _what(gate: Gate) -> str:
    return "an older checkpoint" if gate.against in ("previous", "best") else repr(gate.against)


def _compared(root: str, other: Result, now: Measured, confidence: float, notes: list[str]) -> Comparison | None:
    try:
        return compare(measured(root, other), now, confidence)
    except InputError as error:
        notes.append(f"{results.reference(other)}: {error}")
        return None


def _rows(subjects: Sequence[_Subject], confidence: float) -> tuple[Row, ...]:
    previous = _corrected(s.previous.difference.p_value if s.previous else None for s in subjects)
    gated = _corrected(s.gate.difference.p_value if s.gate else None for s in subjects)
    drops = _corrected(s.p_drop if s.gate else None for s in subjects)
    rows = []
    for s, p_previous, p_gated, p_drop in zip(subjects, previous, gated, drops, strict=True):
        judged = _change(s.gate, p_gated, confidence)
        r = s.row
        rows.append(
            Row(
                dataset=results.reference(r),
                metric=r.metric,
                unit=r.unit,
                higher_is_better=r.higher_is_better,
                aggregation=r.aggregation,
                value=r.value,
                ci_low=r.ci_low,
                ci_high=r.ci_high,
                samples=r.samples,
                failed=r.failed,
                sample_limit=r.sample_limit,
                run_id=r.run_id,
                previous=_change(s.previous, p_previous, confidence),
                gate=GateCheck(judged, s.candidates, s.p_drop, p_drop) if judged and p_drop is not None else None,
            )
        )
    return tuple(rows)


def _corrected(p_values: Iterable[float | None]) -> list[float | None]:
    """Holm's correction over those that there are."""
    listed = list(p_values)
    corrected = iter(holm([p for p in listed if p is not None]))
    return [None if p is None else next(corrected) for p in listed]


def _change(comparison: Comparison | None, p_holm: float | None, confidence: float) -> Change | None:
    if comparison is None or p_holm is None:
        return None
    value, low, high, p_value = comparison.difference
    return Change(
        checkpoint=comparison.first.checkpoint or "",
        run_id=comparison.first.run_id,
        before=comparison.evidence.first,
        after=comparison.evidence.second,
        difference=value,
        ci_low=low,
        ci_high=high,
        p_value=p_value,
        p_holm=p_holm,
        verdict=verdict(comparison, p_holm, confidence),
        method=comparison.method,
        counts=comparison.counts,
    )
