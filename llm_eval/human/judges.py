"""What LLM judges said of a run's samples, from its published rows: what people's answers are held against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llm_eval.records import SampleResult
from llm_eval.specs import RunSpec, Scale

COMPARED = ("rating", "win_rate", "judged_accuracy")
"""Metrics that say how good one answer is. A run's judges give one of them."""
PANEL = "panel"

Values = Mapping[str, float]
"""Sample id → value; of several attempts the first one's, which is the one that people see."""


class JudgeKey(NamedTuple):
    """A judge's name, or `panel` for several together, and the metric of its values."""

    judge: str
    metric: str


def judge_values(run: RunSpec, rows: Sequence[SampleResult]) -> dict[JudgeKey, Values]:
    """The values of each judge of a run, and of all together where there are several; {} if nothing was judged."""
    found: dict[JudgeKey, dict[str, float]] = {}
    for row in rows:
        metric, _, judge = row.metric.partition("@")
        if metric in COMPARED and row.attempt == 0 and row.value is not None and run.judges:
            name = judge or (run.judges[0].spec.name if len(run.judges) == 1 else PANEL)
            found.setdefault(JudgeKey(name, metric), {})[row.sample_id] = row.value
    return dict(found)


def scale(run: RunSpec) -> tuple[int, ...] | None:
    """The whole numbers that the run's judges rate in; None where they do not, or may rate in between."""
    kind = run.judges[0].spec.verdict if run.judges else None
    if not isinstance(kind, Scale) or not kind.whole or kind.low % 1 or kind.high % 1:
        return None
    return tuple(range(int(kind.low), int(kind.high) + 1))


def disagreements(run: RunSpec, rows: Sequence[SampleResult]) -> dict[str, float]:
    """How far a run's judges disagree on each sample, from 0: how far apart their values lie, as a share of the range
    that all values of the run span, plus the share of pairs on which a judge
    says otherwise when the answers change places (1 - `consistency`)."""
    values = {key: of for key, of in judge_values(run, rows).items() if key.judge != PANEL}
    everything = [value for of in values.values() for value in of.values()]
    span = max(everything, default=0.0) - min(everything, default=0.0)
    found: dict[str, float] = {}
    for sample_id in dict.fromkeys(sample_id for of in values.values() for sample_id in of):
        said = [of[sample_id] for of in values.values() if sample_id in of]
        found[sample_id] = (max(said) - min(said)) / span if span else 0.0
    unsure: dict[str, list[float]] = {}
    for row in rows:
        if row.metric.partition("@")[0] == "consistency" and row.attempt == 0 and row.value is not None:
            if len(run.judges) > 1 and "@" not in row.metric:
                continue  # the panel's own figure repeats those of its judges
            unsure.setdefault(row.sample_id, []).append(1 - row.value)
    for sample_id, shares in unsure.items():
        found[sample_id] = found.get(sample_id, 0.0) + math.fsum(shares) / len(shares)
    return found
