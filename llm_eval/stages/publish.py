"""publish: scores become rows of `results/summary` and `results/samples`, in files that are this run's alone.

A run that is published again replaces its own rows and nobody else's; readers never see half a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from llm_eval import layout, storage, tables
from llm_eval.errors import IncompleteStage
from llm_eval.metrics import get_metric
from llm_eval.metrics.aggregate import aggregate
from llm_eval.records import Response, Result, Sample, SampleResult, Score
from llm_eval.specs import RunSpec
from llm_eval.stages import Counts, StageContext
from llm_eval.stages.effort import Effort
from llm_eval.stages.fetch import read_samples
from llm_eval.stages.infer import read_peaks, read_responses
from llm_eval.stages.render import read_requests
from llm_eval.stages.score import manifest as score_manifest
from llm_eval.stages.score import read_scores


def manifest(context: StageContext) -> str:
    return layout.join(context.layout.run_uri, layout.PUBLISHED)


def run(context: StageContext) -> Counts:
    # scores.parquet is there even when too much failed; only the manifest says that the score may be believed.
    if not storage.exists(score_manifest(context)):
        raise IncompleteStage(
            f"{context.layout.scores} is not complete: run `llm-eval score {context.layout.run_uri}` first"
        )
    scores = read_scores(context.layout)
    asked = {r.id for r in read_requests(context.layout)}
    responses = {k: r for k, r in read_responses(context.layout).items() if k[0] in asked}
    samples = {s.id: s for s in read_samples(context.layout)}
    effort, peaks = Effort.of(responses.values()), read_peaks(context.layout)
    rows = list(summary_rows(context.run, scores, effort, peaks, datetime.now(UTC)))
    tables.write(context.layout.result("samples"), SampleResult, sample_rows(context.run, scores, responses, samples))
    tables.write(context.layout.result("summary"), Result, rows)
    headline = next(r for r in rows if r.headline)
    return {
        "value": headline.value,
        "samples": headline.samples,
        "scored": headline.scored,
        "no_answer": headline.no_answer,
        "failed": headline.failed,
        "rows": len(rows),
    }


def summary_rows(
    run: RunSpec, scores: Sequence[Score], effort: Effort, peaks: Mapping[str, float], now: datetime
) -> Iterator[Result]:
    """Rows of one run: each metric over each subset, group and the whole; the first metric's whole is the headline."""
    for position, call in enumerate(run.dataset.metrics):
        metric = get_metric(call.name)
        for part in aggregate([s for s in scores if s.metric == call.name], metric, run.dataset):
            yield Result(
                run_id=run.run_id,
                suite=run.suite,
                model=run.model.name,
                checkpoint=run.checkpoint.name if run.checkpoint else None,
                checkpoint_created_at=run.checkpoint.created_at if run.checkpoint else None,
                dataset=run.dataset.name,
                variant=run.variant,
                dataset_version=run.dataset_version,
                mode={"generate": "gen", "choices": "ppl", "perplexity": "ppl"}[run.dataset.prompt.kind],
                subset=part.subset,
                aggregation=part.aggregation,
                headline=part.headline and position == 0,
                metric=call.name,
                unit=metric.unit,
                value=part.estimate.value,
                stderr=part.estimate.stderr,
                ci_low=part.estimate.ci_low,
                ci_high=part.estimate.ci_high,
                higher_is_better=metric.higher_is_better,
                samples=part.samples,
                scored=part.scored,
                no_answer=part.no_answer,
                failed=part.failed,
                sample_limit=run.params.limit,
                judge=None,
                responses_fingerprint=run.fingerprints.responses,
                scores_fingerprint=run.fingerprints.scores,
                logical_date=run.logical_date,
                evaluated_at=now.isoformat(timespec="seconds"),
                code_version=run.code_version,
                input_tokens=effort.input_tokens,
                output_tokens=effort.output_tokens,
                prefill_tokens=effort.prefill_tokens,
                prefix_reuse_fraction=effort.prefix_reuse_fraction,
                prefill_tokens_per_second=effort.prefill_tokens_per_second,
                decode_tokens_per_second=effort.decode_tokens_per_second,
                infer_seconds=round(effort.seconds, 3),
                peak_memory_gib=peaks.get("peak_memory_gib"),
                peak_gpu_memory_gib=peaks.get("peak_gpu_memory_gib"),
                cost_usd=effort.cost_usd,
                params=run.params.model_dump(mode="json", exclude_defaults=True),
                latency_p50_seconds=effort.latency_seconds(50),
                latency_p90_seconds=effort.latency_seconds(90),
                latency_p99_seconds=effort.latency_seconds(99),
                first_token_p50_seconds=effort.first_token_p50_seconds,
            )


def sample_rows(
    run: RunSpec, scores: Sequence[Score], responses: dict[tuple[str, int], Response], samples: dict[str, Sample]
) -> Iterator[SampleResult]:
    for score in scores:
        response = responses[score.sample_id, score.attempt]
        yield SampleResult(
            run_id=run.run_id,
            model=run.model.name,
            checkpoint=run.checkpoint.name if run.checkpoint else None,
            dataset=run.dataset.name,
            variant=run.variant,
            subset=score.subset,
            sample_id=score.sample_id,
            attempt=score.attempt,
            metric=score.metric,
            value=score.value,
            status=score.status,
            answer=score.answer,
            targets=samples[score.sample_id].targets,
            response=response.text,
            explanation=score.explanation,
            shots=response.shots,
            input_tokens=response.input_tokens,
            output_tokens=response.output_tokens,
            finish_reason=response.finish_reason,
            statistics=score.statistics,
            choices=len(samples[score.sample_id].choices),
        )
