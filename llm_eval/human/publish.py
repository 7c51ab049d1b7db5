"""A round's answers as published rows, beside those of the runs they are about.

results/summary, results/samples    human_preference or human_rating, in {run_id}.{metric}.parquet; of several rounds
                                    about one run the one picked last stands
results/judgements                  each answer, judge "human", in {run_id}.human.{suite}.{round}.parquet
results/agreement                   people with LLM judges and with one another, in suite=S/{round}.parquet

Rows of the summary have their run's id and date, and so stand beside it on a leaderboard. A round that was picked by
disagreement has none: a mean over samples that were picked for being hard says nothing of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llm_eval import layout, results, storage, tables
from llm_eval.errors import InputError
from llm_eval.human import rounds, scoring
from llm_eval.human.agreement import Judged, agreement_rows
from llm_eval.human.judges import judge_values, scale
from llm_eval.human.picking import is_random
from llm_eval.human.records import AgreementRow, Key
from llm_eval.human.rounds import Round
from llm_eval.human.scoring import Counts, Given
from llm_eval.layout import Layout
from llm_eval.metrics.aggregate import WHOLE
from llm_eval.records import PublishedJudgement, Result, SampleResult, Score
from llm_eval.specs import HumanPreference, RunSpec
from llm_eval.stages import baselines

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a round says of one run: the row as published, or as it would be had the round been picked at random."""

    label: str
    row: Result


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a round has come to. notes: what is missing or must not be overlooked."""

    counts: Counts
    standings: tuple[Standing, ...]
    agreement: tuple[AgreementRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class About:
    """A run that was asked about, as it is published: its rows, its headline, its samples."""

    run: RunSpec
    place: Layout
    headline: Result
    samples: tuple[SampleResult, ...]


def publish(root: str, made: Round) -> Outcome:
    """Write the rows of a round with the answers there are by now, instead of those written before."""
    keys, said = made.keys, scoring.given(rounds.answers_of(made))
    notes = list(made.notes)
    runs: dict[str, About] = {}
    for uri in dict.fromkeys(run for key in keys for run in key.runs if run):
        try:
            runs[uri] = _about(root, uri)
        except InputError as gone:
            notes.append(f"its rows are not published: {gone}")
    standings = []
    for uri, scores in scoring.scores_of(made, keys, said).items():
        if uri in runs:
            standings += _publish_run(made, runs[uri], [key for key in keys if uri in key.runs], said, scores)
    judged = {uri: Judged(judge_values(one.run, one.samples), scale(one.run)) for uri, one in runs.items()}
    agreement = tuple(agreement_rows(made, keys, said, judged))
    table = layout.join(layout.results(root, "agreement"), f"suite={made.suite}", f"{made.name}.parquet")
    tables.write(table, AgreementRow, agreement)
    counted = scoring.counts(made, keys, said)
    outcome = Outcome(counted, tuple(standings), agreement, (*notes, *_cautions(keys, counted, judged)))
    logger.info("human: %d of %d answers, %d items unanswered", counted.answered, counted.asked, counted.unanswered)
    return outcome


def _about(root: str, uri: str) -> About:
    run = baselines.load(uri)
    rows = results.summary(root, models=[run.model.name], datasets=[run.dataset_reference])
    headline = next((row for row in rows if row.run_id == run.run_id and row.headline), None)
    if headline is None:
        raise InputError(f"{uri}: the run is no longer published")
    samples = results.samples(root, run.run_id, run.model.name, run.dataset_reference)
    return About(run, Layout(root, run), headline, tuple(samples))


def _publish_run(
    made: Round, about: About, keys: Sequence[Key], said: Given, scores: Sequence[Score]
) -> list[Standing]:
    run, uri = about.run, about.place.run_uri
    judgements = [
        PublishedJudgement(
            **{name: getattr(judgement, name) for name in judgement.__slots__},
            run_id=run.run_id,
            model=run.model.name,
            checkpoint=run.checkpoint.name if run.checkpoint else None,
            dataset=run.dataset.name,
            variant=run.variant,
            judge_model=f"human:{rater}" if rater else "human",
        )
        for rater, judgement in scoring.judgements_of(uri, keys, said)
    ]
    tables.write(_beside(about, "judgements", f"human.{made.suite}.{made.name}"), PublishedJudgement, judgements)
    row = _summary_row(made, about, keys, scores)
    if row is not None and is_random(keys) and not _is_older(made, about):
        by_sample = {sample.sample_id: sample for sample in about.samples if sample.attempt == 0}
        tables.write(
            _beside(about, "samples", scoring.metric_of(made)),
            SampleResult,
            [_sample_row(by_sample[score.sample_id], score) for score in scores],
        )
        tables.write(_beside(about, "summary", scoring.metric_of(made)), Result, [row])
    label = f"{run.model.name}@{run.checkpoint.name}" if run.checkpoint else run.model.name
    return [] if row is None else [Standing(label, row)]


def _beside(about: About, table: str, name: str) -> str:
    return about.place.result(table).removesuffix(".parquet") + f".{name}.parquet"


def _is_older(made: Round, about: About) -> bool:
    """Whether a round that was picked later has been published about the run."""
    address = _beside(about, "summary", scoring.metric_of(made))
    if not storage.exists(address):
        return False
    (row,) = tables.read(address, Result)
    there: Mapping[str, str] = row.params.get("human", {})
    return there.get("picked_at", "") > made.picked_at


def _summary_row(made: Round, about: About, keys: Sequence[Key], scores: Sequence[Score]) -> Result | None:
    """None where nobody answered anything about the run: a mean of nothing is no number."""
    found = scoring.estimate(made, scores)
    if found is None:
        return None
    is_preference = isinstance(made.human.ask, HumanPreference)
    opponents = {
        model for key in keys for model, run in zip(key.models, key.runs, strict=True) if run != about.place.run_uri
    }
    told = {"suite": made.suite, "round": made.name, "picked_at": made.picked_at, "opponents": sorted(opponents)}
    scored = sum(score.status == "scored" for score in scores)
    return replace(
        about.headline,
        subset=WHOLE,
        aggregation="micro" if len({score.subset for score in scores}) > 1 else "samples",
        headline=False,
        metric=scoring.metric_of(made),
        unit="fraction" if is_preference else "points",
        value=found.value,
        stderr=found.stderr,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        higher_is_better=True,
        samples=len(scores),
        scored=scored,
        no_answer=0,
        failed=len(scores) - scored,
        judge=scoring.JUDGE,
        params={**about.headline.params, "human": told},
        bound_low=None,
        bound_high=None,
        judge_input_tokens=None,
        judge_output_tokens=None,
        judge_cost_usd=None,
    )


def _sample_row(row: SampleResult, score: Score) -> SampleResult:
    return replace(
        row,
        metric=score.metric,
        value=score.value,
        status=score.status,
        explanation=score.explanation,
        statistics=(),
    )


def _cautions(keys: Sequence[Key], counted: Counts, judged: Mapping[str, Judged]) -> list[str]:
    found = []
    if counted.answered == 0:
        found.append("Nobody has answered anything: there is no value to publish.")
    elif counted.unanswered:
        found.append(f"{counted.unanswered} of {counted.items} items have no answer; values leave them out.")
    if not is_random(keys):
        found.append(
            "Picked by disagreement: values and agreement are of hard samples, not of their datasets, whose "
            "runs have no row of it in results/summary."
        )
    if not any(one.values for one in judged.values()):
        found.append("No LLM judge has judged these runs: there is nothing to agree with.")
    if any("" not in key.runs and len(key.runs) == 2 for key in keys) and any(one.values for one in judged.values()):
        found.append("Between two models, an LLM judge prefers the one that it gave more, each judged by itself.")
    return found
