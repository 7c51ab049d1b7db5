"""verdict: the judges' replies become judgements and scores. Nothing is asked here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llm_eval import layout, storage, tables
from llm_eval.errors import EmptyScores, IncompleteStage
from llm_eval.judging import panels
from llm_eval.judging.scores import scores_of
from llm_eval.layout import Layout
from llm_eval.records import Judgement, Request, Response, Score
from llm_eval.specs import PlannedJudge, RunSpec
from llm_eval.stages import Counts, StageContext, calibration, replies
from llm_eval.stages.judge import AskThese, Replies, judged_by
from llm_eval.stages.judging import headline_metric
from llm_eval.stages.score import check_failures
from llm_eval.stages.scored import Scored, read_scored
from llm_eval.stages.shown import Shown, shown_to

_MANIFEST = "manifest.json"


def manifest(context: StageContext) -> str:
    return layout.join(context.layout.verdicts, _MANIFEST)


def run(context: StageContext) -> Counts:
    dataset = context.run.dataset
    assert dataset.judge is not None  # the stage of judged runs
    scored = read_scored(context.layout)
    of_judges: dict[str, list[Score]] = {}
    found: list[Judgement] = []
    figures: Counts = {}
    for judge in context.run.judges:
        read = _reader(judge, context)
        figures |= _calibrated(judge, context, read)
        shown = shown_to(judge.spec, context, scored)
        judged = judged_by(judge, shown, read)
        found += judged.judgements
        of_judges[judge.spec.name] = list(scores_of(judged.judgements, shown.subjects, judge.spec))
    scores = panels.together(of_judges, dataset.judge)
    if dataset.judge.after_rule is not None:
        rule = [s for s in scored.scores if s.metric == dataset.metrics[0].name]
        scores += panels.cascade(rule, scores)
    tables.write(layout.join(context.layout.verdicts, "judgements.parquet"), Judgement, found)
    address = layout.join(context.layout.verdicts, "scores.parquet")
    tables.write(address, Score, scores, sources=scored.parts)
    metric = headline_metric(context.run)
    headline = [s for s in scores if s.metric == metric]
    if not headline:
        raise EmptyScores(
            f"dataset {dataset.name!r}: the judges' headline {metric!r} has a value of no sample: "
            f"nothing to average. Every judgement is in {context.layout.verdicts}."
        )
    check_failures(headline, dataset.max_failed_fraction, address, "judge", context.layout.run_uri)
    counted = Counter(s.status for s in headline)
    return {
        "samples": len(headline),
        "scored": counted["scored"],
        "no_answer": counted["no_answer"],
        "failed": counted["failed"],
        "judgements": len(found),
        "unreadable": sum(each.status == "failed" and each.reply is not None for each in found),
        **figures,
    }


def _calibrated(judge: PlannedJudge, context: StageContext, read: AskThese) -> Counts:
    """A judge's agreement with people; of several judges, each with its name behind."""
    found = calibration.check(
        judge, context.settings, lambda these: judged_by(judge, Shown(these, {}), read).judgements
    )
    return found if len(context.run.judges) == 1 else {f"{key}@{judge.spec.name}": v for key, v in found.items()}


def _reader(judge: PlannedJudge, context: StageContext) -> AskThese:
    place = context.layout
    known = replies.read(place, judge)

    def read(requests: list[Request]) -> Replies:
        ids = {request.id for request in requests}
        if missing := ids - known.keys():
            # A shard is not done, or another run of the pair has scored other answers since.
            replies.forget_that_judging_is_done(place, judge)
            raise IncompleteStage(
                f"{len(missing)} of {len(ids)} replies of judge {judge.spec.name!r} are missing under "
                f"{place.verdicts}. Run `llm-eval judge {place.run_uri} --judge {judge.spec.name}` for every shard."
            )
        return {id: known[id] for id in ids}

    return read


def read_judgements(place: Layout) -> list[Judgement]:
    return tables.read(layout.join(place.verdicts, "judgements.parquet"), Judgement)


def read_judged_scores(place: Layout, scored: Scored) -> list[Score]:
    """Raises IncompleteStage where they are not of the answers that were scored: those have to be judged then."""
    scores, parts = tables.read_with_sources(layout.join(place.verdicts, "scores.parquet"), Score)
    if parts != scored.parts:
        for judge in place.run.judges:
            replies.forget_that_judging_is_done(place, judge)
        storage.delete(layout.join(place.verdicts, _MANIFEST))
        raise IncompleteStage(
            f"another run has scored other answers than those judged under {place.verdicts}: run `llm-eval judge "
            f"{place.run_uri}` for every judge and shard, and `llm-eval verdict {place.run_uri}`"
        )
    return scores


def replies_behind(run: RunSpec, place: Layout, judgements: Sequence[Judgement]) -> list[Response]:
    """The replies that judgements were read from, each once: what judging took."""
    found: list[Response] = []
    for judge in run.judges:
        ids = {i for each in judgements if each.judge == judge.spec.name for i in each.replies}
        found += [reply for id, reply in replies.read(place, judge).items() if id in ids]
    return found
