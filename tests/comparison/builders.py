"""Published runs whose samples a test spells out: real Parquet, aggregated as the publish stage does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_eval import layout, tables
from llm_eval.metrics import get_metric
from llm_eval.metrics.aggregate import aggregate
from llm_eval.records import Result, SampleResult, Score
from llm_eval.specs import DatasetSpec
from tests.builders import DATASET
from tests.reporting.builders import result

Values = Sequence[float | None] | Mapping[str, Sequence[float | None]]


def publish(
    root: str,
    values: Values = (),
    *,
    scores: Sequence[Score] = (),
    headline: str = "micro",
    choices: int = 0,
    **fields: Any,
) -> Result:
    """One run's two files; its headline row.

    values: of each sample of the metric `accuracy` (or `metric=`), by subset where it is a mapping; None: failed.
    scores: written out, where values are not enough. fields: of the summary's rows.
    """
    name = fields.setdefault("metric", scores[0].metric if scores else "accuracy")
    scores = scores or _scores(values, name)
    subsets = sorted({s.subset for s in scores} - {""})
    metric = get_metric(name)
    spec = DatasetSpec.model_validate({**DATASET, "subsets": subsets, "headline": headline, "metrics": [name]})
    rows = [
        result(
            part.estimate.value,
            **{
                "subset": part.subset,
                "aggregation": part.aggregation,
                "headline": part.headline,
                "ci_low": part.estimate.ci_low,
                "ci_high": part.estimate.ci_high,
                "samples": part.samples,
                "failed": part.failed,
                "unit": metric.unit,
                "higher_is_better": metric.higher_is_better,
                **fields,
            },
        )
        for part in aggregate(scores, metric, spec)
    ]
    top = next(row for row in rows if row.headline)
    tables.write(_file(root, "summary", top), Result, rows)
    tables.write(_file(root, "samples", top), SampleResult, [_sample(top, score, choices) for score in scores])
    return top


def checkpoint(number: int) -> dict[str, Any]:
    """Fields of the `number`th checkpoint's run, created on that day of January."""
    return {
        "run_id": f"run-{number}",
        "checkpoint": f"step-{number}",
        "checkpoint_created_at": f"2026-01-{number:02d}T00:00:00+00:00",
    }


def right(count: int, of: int, start: int = 0) -> list[float]:
    """`of` samples, `count` of them right, beginning with the `start`th and going round."""
    return [float((i - start) % of < count) for i in range(of)]


def _scores(values: Values, metric: str) -> list[Score]:
    by_subset = values if isinstance(values, Mapping) else {"": values}
    return [
        Score(f"s-{i:05d}", subset, 0, metric, value, "failed" if value is None else "scored")
        for subset, of_subset in by_subset.items()
        for i, value in enumerate(of_subset)
    ]


def _file(root: str, table: str, row: Result) -> str:
    place = layout.join(layout.results(root, table), f"model={row.model}", f"dataset={row.dataset}")
    return layout.join(place, f"{row.run_id}.parquet")


def _sample(row: Result, score: Score, choices: int) -> SampleResult:
    return SampleResult(
        run_id=row.run_id,
        model=row.model,
        checkpoint=row.checkpoint,
        dataset=row.dataset,
        variant=row.variant,
        subset=score.subset,
        sample_id=score.sample_id,
        attempt=score.attempt,
        metric=score.metric,
        value=score.value,
        status=score.status,
        answer=None,
        targets=("A",),
        response=None,
        explanation="",
        shots=0,
        input_tokens=1,
        output_tokens=1,
        finish_reason="stop",
        statistics=score.statistics,
        choices=choices,
    )
