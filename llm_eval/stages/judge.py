"""judge: ask one judge about every answer of a shard, and once more where its verdict cannot be read.

Replies are kept by what was asked, for all models and runs together: what any of them has paid for is not asked again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from llm_eval import layout
from llm_eval.errors import BackendLost, UntrustedJudge
from llm_eval.judging import judgements
from llm_eval.judging.asks import Ask, again, asks_of, generation_of
from llm_eval.judging.readers import Unreadable
from llm_eval.records import Judgement, Request, Response
from llm_eval.specs import JudgeSpec, PlannedJudge
from llm_eval.stages import Counts, StageContext, calibration, forced, replies
from llm_eval.stages.asking import Asking, Planned
from llm_eval.stages.effort import Effort
from llm_eval.stages.progress import Progress
from llm_eval.stages.responses import is_unanswered, read_some
from llm_eval.stages.scored import read_scored
from llm_eval.stages.shown import Shown, shown_to

logger = logging.getLogger(__name__)

Replies = Mapping[str, Response]
AskThese = Callable[[list[Request]], Replies]


class Judged(NamedTuple):
    """What came of one judge: judgements in the order of the subjects, and the replies that they were read from."""

    judgements: list[Judgement]
    replies: dict[str, Response]


def manifest(context: StageContext) -> str:
    shard = context.shard
    return layout.join(context.layout.verdicts, f"manifest-{context.judge}-{shard.index}of{shard.count}.json")


def run(context: StageContext) -> Counts:
    judge = context.run.judge(context.judge)
    mine = shown_to(judge.spec, context, read_scored(context.layout)).part(context.shard)
    folder = context.layout.replies(judge)
    outdated = forced.outdated(context, "judge", folder, context.layout.verdicts)
    who = Planned(judge.model, judge.checkpoint, judge.weights, context.run.dataset.name, context.run.run_id)
    progress = Progress(f"judge {judge.spec.name} {context.shard}", [], 1)
    asked = Counter[str]()
    came: dict[str, Response] = {}
    # Replies are kept for all runs together, whose cost is not this one's: a budget is of each try of this stage.
    with Asking(who, context, folder, progress, outdated, context.layout.verdicts) as asking:

        def ask(requests: list[Request]) -> Replies:
            known = read_some(folder, {r.id for r in requests}, outdated)
            rest = list({r.id: r for r in requests if is_unanswered(known.get(r.id))}.values())
            asked.update(requests=len(requests), asked=len(rest))
            progress.expect(rest)
            said = known | {r.request_id: r for r in asking.ask(rest, generation_of(judge.spec))}
            came.update(said)
            return said

        if context.shard.index == 0:  # before the run's own answers cost anything; verdict looks again
            try:
                calibration.check(
                    judge, context.settings, lambda these: judged_by(judge, Shown(these, {}), ask).judgements
                )
            except UntrustedJudge:
                replies.write(context.layout, judge, context.shard, came)  # verdict says why, too
                raise
        judged = judged_by(judge, mine, ask)
        peaks = asking.peaks()
    replies.write(context.layout, judge, context.shard, came)
    found = Counter(each.status for each in judged.judgements)
    lost = [r.error for r in judged.replies.values() if r.error is not None]
    if lost and len(lost) == len(judged.replies):
        raise BackendLost(f"judge {judge.spec.name}: not one of {len(lost)} questions was answered: {lost[-1]}")
    return {
        "judgements": len(judged.judgements),
        "asked": asked["asked"],
        "reused": asked["requests"] - asked["asked"],
        "asked_again": sum(len(each.replies) > 1 for each in judged.judgements),
        "failed": found["failed"],
        **Effort.of(judged.replies.values()).counts(),
        **peaks,
    }


def judged_by(judge: PlannedJudge, shown: Shown, ask: AskThese) -> Judged:
    """The judgements of all subjects. `ask` gives a reply to each request, from wherever it has it.

    A blank answer is not asked about (unless the judge's YAML says so), nor one that never came.
    """
    spec = judge.spec
    asks: dict[int, list[Ask]] = {}
    unasked: dict[int, Judgement] = {}
    for place, subject in enumerate(shown.subjects):
        if place in shown.broken:
            unasked[place] = judgements.failed(subject, spec, shown.broken[place])
        elif subject.is_blank and spec.unanswered == "worst":
            unasked[place] = judgements.unasked(subject, spec)
        else:
            asks[place] = asks_of(subject, spec, judge.model.chat)
    first = [each for of_subject in asks.values() for each in of_subject]
    said = dict(ask([each.request for each in first])) if first else {}
    reasons = {each.request.id: why for each in first if (why := _unreadable(each, said, spec)) is not None}
    second = {
        each.request.id: again(each, said[each.request.id], reasons[each.request.id], spec)
        for each in first
        if each.request.id in reasons and spec.ask_again is not None
    }
    if second:
        logger.info("judge %s: asking %d times again for a verdict that can be read", spec.name, len(second))
        said |= ask([each.request for each in second.values()])
    found: list[Judgement] = []
    for place in range(len(shown.subjects)):
        if place in unasked:
            found.append(unasked[place])
        for each in asks.get(place, ()):
            ids = [each.request.id]
            if ids[0] in second:
                ids.append(second[ids[0]].request.id)
            found.append(judgements.judgement(each, [(i, said[i]) for i in ids], spec))
    return Judged(found, said)


def _unreadable(ask: Ask, said: Replies, judge: JudgeSpec) -> str | None:
    reply = said[ask.request.id]
    if reply.error is not None:
        return None
    try:
        judgements.read(ask, reply, judge)
    except Unreadable as unreadable:
        return str(unreadable)
    return None
