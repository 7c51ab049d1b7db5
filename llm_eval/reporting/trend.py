"""`llm-eval report --model M`: each dataset's headline over the model's checkpoints, as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from llm_eval.comparison import Trend, verdict
from llm_eval.comparison.history import Step
from llm_eval.reporting.comparison import counted, methods_note
from llm_eval.reporting.figures import half_width, p_value, scaled, signed, signed_interval, written
from llm_eval.reporting.grid import aligned
from llm_eval.reporting.leaderboard import FAILED, LIMITED, OVERRIDDEN, marks, printable
from llm_eval.results import reference

BETTER, WORSE = "▲", "▼"
_BARS = "▁▂▃▄▅▆▇█"
_HEAD = ("checkpoint", "value", "", "samples", "difference", "95% interval", "p", "p (Holm)", "")


def trend_table(trends: Sequence[Trend], model: str, confidence: float = 0.95) -> str:
    """One block per dataset, a line per checkpoint, oldest first; footnotes below."""
    sections = [_block(trend, confidence) for trend in trends]
    return "\n\n".join([f"{model} over its checkpoints", *("\n".join(lines) for lines in sections), _notes(trends)])


def marked(step: Step, confidence: float) -> str:
    """▲ better and ▼ worse than the checkpoint before, where that is significant; else ""."""
    if step.change is None or step.p_holm is None:
        return ""
    return {"better": BETTER, "worse": WORSE}.get(verdict(step.change, step.p_holm, confidence), "")


def sparkline(values: Sequence[float]) -> str:
    """One bar per value, from the least to the greatest; all the same where they are equal."""
    low, high = min(values), max(values)
    if not math.isfinite(high - low):
        return ""
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((value - low) / step)] for value in values)


def _block(trend: Trend, confidence: float) -> Iterator[str]:
    last = trend.steps[-1].row
    better = "" if last.higher_is_better else ", lower is better"
    chance = "" if trend.chance is None else f", guessing {written(trend.chance, last.unit)}"
    yield f"{trend.dataset} ({last.metric}{better}{chance})  {sparkline([s.row.value for s in trend.steps])}".rstrip()
    yield from aligned(_HEAD, [_cells(step, confidence) for step in trend.steps], left=1)


def _cells(step: Step, confidence: float) -> list[str]:
    row = step.row
    head = [
        printable(row.checkpoint or "-"),
        written(row.value, row.unit) + marks(row),
        half_width(row),
        f"{row.samples:,}",
    ]
    if step.change is None or step.p_holm is None:
        return [*head, "", "", "", "", ""]
    found = step.change.difference
    return [
        *head,
        signed(found.value, row.unit),
        signed_interval(found.ci_low, found.ci_high, row.unit),
        p_value(found.p_value),
        p_value(step.p_holm),
        marked(step, confidence),
    ]


def _notes(trends: Sequence[Trend]) -> str:
    steps = [step for trend in trends for step in trend.steps]
    changes = [step.change for step in steps if step.change is not None]
    said = [
        f"{mark} {meaning}."
        for mark, meaning in (
            (FAILED, "samples failed through no fault of the model"),
            (LIMITED, "asked only some of the samples"),
            (OVERRIDDEN, "run with catalog values changed for it"),
        )
        if any(mark in marks(step.row) for step in steps)
    ]
    places = ((c, f"{reference(c.second)} {printable(c.second.checkpoint or '')}".rstrip()) for c in changes)
    if left_out := [text for change, place in places if (text := counted(change.counts, place))]:
        said.append(f"Differences leave out, the first being the older: {'; '.join(left_out)}.")
    if any(step.change is None for trend in trends for step in trend.steps[1:]):
        said.append("No difference: the checkpoint before was evaluated on another version of the dataset.")
    if macro := [trend.dataset for trend in trends if trend.steps[-1].row.aggregation == "macro"]:
        said.append(f"Macro, the mean over subsets of their means: {', '.join(macro)}.")
    if changes:
        said.append("difference, interval, p: from the checkpoint before. " + methods_note({c.method for c in changes}))
        said.append(f"{BETTER} better, {WORSE} worse: p (Holm), corrected for the steps of the dataset, is below 0.05.")
    said.append("Fractions stand as 0-100. After ±: half of the 95% interval.")
    return "\n".join(said)


def scaled_interval(step: Step) -> tuple[float, float, float]:
    """Value and interval as they are drawn."""
    row = step.row
    return scaled(row.value, row.unit), scaled(row.ci_low, row.unit), scaled(row.ci_high, row.unit)
