"""What `llm-eval compare` prints: two sides, their common datasets, how far apart they are and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from llm_eval.comparison import Comparison, Counts, Family, verdict
from llm_eval.errors import UnknownName
from llm_eval.paired import RESAMPLES
from llm_eval.reporting.figures import p_value, signed, signed_interval, written
from llm_eval.reporting.grid import aligned, escaped, markdown
from llm_eval.reporting.leaderboard import FAILED, LIMITED, OVERRIDDEN, marks
from llm_eval.results import reference

LEFT = 2  # columns of text


def render_comparison(family: Family, format: str) -> str:
    """As table, md or json, without a newline at its end. Raises UnknownName for another format."""
    if format not in _FORMATS:
        raise UnknownName("format", format, _FORMATS)
    return _FORMATS[format](family)


def counted(counts: Counts, dataset: str) -> str:
    """What the comparison had to leave out; "" if nothing."""
    said = [
        f"{counts.failed:,} failed in one of the two" if counts.failed else "",
        f"{counts.only_first:,} asked only in the first" if counts.only_first else "",
        f"{counts.only_second:,} asked only in the second" if counts.only_second else "",
    ]
    return f"{dataset}: {', '.join(filter(None, said))}" if any(said) else ""


def _table(family: Family) -> str:
    lines = aligned(_head(family), [list(row) for row in _rows(family)], LEFT)
    return "\n".join([_title(family), "", *lines, "", *_notes(family)])


def _markdown(family: Family) -> str:
    lines = markdown(_head(family), [list(row) for row in _rows(family)], LEFT)
    said = [f"- {escaped(note, first=True)}" for note in _notes(family)]
    return "\n".join([f"## {escaped(_title(family))}", "", *lines, "", *said])


def _title(family: Family) -> str:
    return f"From {family.first.label} to {family.second.label}"


def _head(family: Family) -> list[str]:
    interval = f"{100 * family.confidence:g}% interval"
    names = ["from", "to"] if family.first.label == family.second.label else [family.first.label, family.second.label]
    return ["dataset", "metric", *names, "difference", interval, "p", "p (Holm)", "", "samples", "discordant"]


def _rows(family: Family) -> Iterator[list[str]]:
    for comparison, p_holm in zip(family.comparisons, family.p_holm, strict=True):
        row, unit, found = comparison.second, comparison.second.unit, comparison.difference
        yield [
            reference(row),
            row.metric,
            written(comparison.evidence.first, unit) + marks(comparison.first),
            written(comparison.evidence.second, unit) + marks(row),
            signed(found.value, unit),
            signed_interval(found.ci_low, found.ci_high, unit),
            p_value(found.p_value),
            p_value(p_holm),
            verdict(comparison, p_holm, family.confidence),
            f"{comparison.counts.paired:,}",
            f"{comparison.counts.discordant:,}",
        ]


def _notes(family: Family) -> Iterator[str]:
    compared = family.comparisons
    runs = [run for comparison in compared for run in (comparison.first, comparison.second)]
    left_out = [said for c in compared if (said := counted(c.counts, reference(c.second)))]
    if left_out:
        yield f"Left out, values are of the samples in both: {'; '.join(left_out)}."
    for mark, meaning in (
        (FAILED, "samples failed through no fault of the model"),
        (LIMITED, "asked only some of the samples"),
        (OVERRIDDEN, "run with catalog values changed for it"),
    ):
        if any(mark in marks(run) for run in runs):
            yield f"{mark} {meaning}."
    yield from (f"Not compared: {name}: {why}" for name, why in family.refused.items())
    if family.alone:
        yield f"Only one of the two has a result on: {', '.join(family.alone)}."
    if macro := [reference(c.second) for c in compared if c.second.aggregation == "macro"]:
        yield f"Macro, the mean over subsets of their means: {', '.join(macro)}."
    if lower := sorted({c.second.metric for c in compared if not c.second.higher_is_better}):
        yield f"Lower is better: {', '.join(lower)}."
    yield methods_note({c.method for c in compared})
    yield (
        f"better, worse: p (Holm) is below {1 - family.confidence:.2g}"
        + (f"; it is corrected for {len(compared)} comparisons." if len(compared) > 1 else ".")
        + " Fractions stand as 0-100."
    )


def methods_note(methods: set[str]) -> str:
    names = {
        "McNemar": "McNemar's exact test, Tango's score interval",
        "bootstrap": f"paired bootstrap, {RESAMPLES:,} draws",
    }
    return f"On the same samples: {'; '.join(text for name, text in names.items() if name in methods)}."


def _as_json(family: Family) -> str:
    rows = [_plain(c, p, family.confidence) for c, p in zip(family.comparisons, family.p_holm, strict=True)]
    return json.dumps(rows, ensure_ascii=False, indent=2)


def _plain(comparison: Comparison, p_holm: float, confidence: float) -> dict[str, Any]:
    row, found = comparison.second, comparison.difference
    return {
        "dataset": reference(row),
        "dataset_version": row.dataset_version,
        "metric": row.metric,
        "unit": row.unit,
        "higher_is_better": row.higher_is_better,
        "aggregation": row.aggregation,
        "first": {**_run(comparison.first), "value": comparison.evidence.first},
        "second": {**_run(row), "value": comparison.evidence.second},
        "difference": found.value,
        "confidence": confidence,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "p_value": found.p_value,
        "p_holm": p_holm,
        "verdict": verdict(comparison, p_holm, confidence),
        "method": comparison.method,
        **comparison.counts._asdict(),
    }


def _run(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("run_id", "model", "checkpoint", "sample_limit")}


_FORMATS: dict[str, Callable[[Family], str]] = {"table": _table, "md": _markdown, "json": _as_json}
