"""publish: scores become rows of `results/summary` and `results/samples`, in files that are this run's alone.

A run that is published again replaces its own rows and nobody else's; readers never see half a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from llm_eval import layout, storage, tables
from llm_eval.errors import IncompleteStage
from llm_eval.metrics import Metric, get_metric
from llm_eval.metrics.aggregate import aggregate
from llm_eval.prompts import turn_id
from llm_eval.records import Judgement, PublishedJudgement, Response, Result, Sample, SampleResult, Score
from llm_eval.specs import RunSpec, Scale
from llm_eval.stages import Counts, StageContext, verdict
from llm_eval.stages.effort import Effort
from llm_eval.stages.fetch import read_samples
from llm_eval.stages.infer import read_peaks
from llm_eval.stages.judging import headline_metric
from llm_eval.stages.render import read_requests
from llm_eval.stages.score import manifest as score_manifest
from llm_eval.stages.scored import read_scored


def manifest(context: StageContext) -> str:
    return layout.join(context.layout.run_uri, layout.PUBLISHED)


def run(context: StageContext) -> Counts:
    # scores.parquet is there even when too much failed; only the manifest says that the score may be believed.
    if not storage.exists(score_manifest(context)):
        raise IncompleteStage(
            f"{context.layout.scores} is not complete: run `llm-eval score {context.layout.run_uri}` first"
        )
    run, place = context.run, context.layout
    if run.judges and not storage.exists(verdict.manifest(context)):
        raise IncompleteStage(f"{place.verdicts} is not complete: run `llm-eval verdict {place.run_uri}` first")
    scored = read_scored(place)
    scores, judgements = list(scored.scores), list[Judgement]()
    if run.judges:
        scores += verdict.read_judged_scores(place, scored)
        judgements = verdict.read_judgements(place)
        tables.write(place.result("judgements"), PublishedJudgement, judgement_rows(run, judgements))
    asked = {r.id for r in read_requests(place)}
    responses = {k: r for k, r in scored.responses(place).items() if k[0] in asked}
    samples = {s.id: s for s in read_samples(place)}
    took = Took(
        Effort.of(responses.values()),
        read_peaks(place),
        Effort.of(verdict.replies_behind(run, place, judgements)) if run.judges else None,
    )
    rows = list(summary_rows(run, scores, took, datetime.now(UTC)))
    tables.write(place.result("samples"), SampleResult, sample_rows(run, scores, responses, samples))
    tables.write(place.result("summary"), Result, rows)
    headline = next(r for r in rows if r.headline)
    return {
        "value": headline.value,
        "samples": headline.samples,
        "scored": headline.scored,
        "no_answer": headline.no_answer,
        "failed": headline.failed,
        "rows": len(rows),
    }


@dataclass(frozen=True, slots=True)
class Took:
    """What answering took, and what judging did; None where nothing was judged."""

    answering: Effort
    peaks: Mapping[str, float]
    judging: Effort | None = None


def summary_rows(run: RunSpec, scores: Sequence[Score], took: Took, now: datetime) -> Iterator[Result]:
    """Rows of one run: each metric over each subset, group and the whole. The headline is the judges' metric where
    there are any, else the first one of the data set; a metric that no sample has a value of has no row."""
    headline = headline_metric(run)
    effort, peaks = took.answering, took.peaks
    for name, of_metric in _by_metric(run, scores).items():
        metric = get_metric(name)
        if name != headline and all(score.value is None for score in of_metric):
            continue
        for part in aggregate(of_metric, metric, run.dataset, _extremes(run, metric)):
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
                headline=part.headline and name == headline,
                metric=name,
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
                judge=_judge_of(run, name) if metric.is_judged else None,
                responses_fingerprint=run.fingerprints.responses,
                scores_fingerprint=run.fingerprints.verdicts or run.fingerprints.scores,
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
                bound_low=part.bounds[0] if part.bounds else None,
                bound_high=part.bounds[1] if part.bounds else None,
                judge_input_tokens=took.judging.input_tokens if took.judging else None,
                judge_output_tokens=took.judging.output_tokens if took.judging else None,
                judge_cost_usd=took.judging.cost_usd if took.judging else None,
                latency_p50_seconds=effort.latency_seconds(50),
                latency_p90_seconds=effort.latency_seconds(90),
                latency_p99_seconds=effort.latency_seconds(99),
                first_token_p50_seconds=effort.first_token_p50_seconds,
            )


def _by_metric(run: RunSpec, scores: Sequence[Score]) -> dict[str, list[Score]]:
    """In the order in which they first appear: the data set's own, as its YAML has them, then the judges'."""
    found: dict[str, list[Score]] = {call.name: [] for call in run.dataset.metrics}
    for score in scores:
        found.setdefault(score.metric, []).append(score)
    return found


def _extremes(run: RunSpec, metric: Metric) -> tuple[float, float] | None:
    """The least and the greatest value of a sample, where the value is a mean of samples'."""
    if not metric.is_mean:
        return None
    if metric.unit == "fraction":
        return 0.0, 1.0
    scales = [judge.spec.verdict for judge in run.judges if isinstance(judge.spec.verdict, Scale)]
    if metric.unit == "points" and scales:  # of a panel all the same
        return scales[0].low, scales[0].high
    return None


def _judge_of(run: RunSpec, metric: str) -> str:
    """Whose values a metric's are: one judge's, or those of all together."""
    return metric.partition("@")[2] or "+".join(judge.spec.name for judge in run.judges)


def judgement_rows(run: RunSpec, judgements: Sequence[Judgement]) -> Iterator[PublishedJudgement]:
    for each in judgements:
        yield PublishedJudgement(
            run_id=run.run_id,
            model=run.model.name,
            checkpoint=run.checkpoint.name if run.checkpoint else None,
            dataset=run.dataset.name,
            variant=run.variant,
            judge_model=run.judge(each.judge).model.name,
            **{field.name: getattr(each, field.name) for field in fields(Judgement)},
        )


def sample_rows(
    run: RunSpec, scores: Sequence[Score], responses: dict[tuple[str, int], Response], samples: dict[str, Sample]
) -> Iterator[SampleResult]:
    for score in scores:
        sample = samples[score.sample_id]
        turns = [responses[turn_id(sample.id, n), score.attempt] for n in range(1, 2 + len(sample.follow_ups))]
        response = turns[-1]
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
            targets=sample.targets,
            response=response.text if len(turns) == 1 else _conversation(turns),
            explanation=score.explanation,
            shots=response.shots,
            input_tokens=response.input_tokens,
            output_tokens=response.output_tokens,
            finish_reason=response.finish_reason,
            statistics=score.statistics,
            choices=len(sample.choices),
        )


def _conversation(turns: Sequence[Response]) -> str:
    """All that the model said, for people."""
    return "\n\n".join(f"[turn {number}]\n{turn.text or ''}" for number, turn in enumerate(turns, start=1))
