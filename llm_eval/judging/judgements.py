"""From a judge's reply to a judgement, and to the question that it is asked again.

Whose fault is it? An empty answer is the model's: the worst verdict, counted as `no_answer`. A call that failed, or a
verdict that cannot be read after asking again, is ours or the judge's: `failed`, counted, never scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llm_eval import templates
from llm_eval.errors import InvalidSpec
from llm_eval.judging import verdicts
from llm_eval.judging.asks import Ask, Order
from llm_eval.judging.readers import Unreadable, read_verdict
from llm_eval.judging.subjects import Subject, labels, names
from llm_eval.judging.verdicts import Verdict
from llm_eval.records import Judgement, Response, Sample, Status
from llm_eval.specs import Correctness, Dimensions, JudgeSpec, Pairwise, Ranking, Rating, Scale

DIMENSION_LIMIT = 30


def read(ask: Ask, reply: Response, judge: JudgeSpec) -> Verdict:
    """The verdict of a reply that came. Raises Unreadable."""
    kind = judge.verdict
    if isinstance(kind, Pairwise) and kind.probabilities:
        # A label as it is comes before one with a blank at its side, as some vocabularies have it: " m".
        said = sorted(reply.first_tokens, key=lambda token: (token.token == token.token.strip(), token.logprob))
        return verdicts.likely_pair({token.token.strip(): token.logprob for token in said}, kind)
    raw = read_verdict(reply.text or "", judge.read)
    match kind:
        case Correctness():
            return verdicts.correctness(raw, kind)
        case Dimensions():
            return verdicts.dimensions(raw, kind, dimensions_of(ask.subject, judge, kind))
        case Rating():
            return verdicts.rating(raw, kind)
        case Pairwise():
            return verdicts.pair(raw, kind)
        case Ranking():
            return verdicts.ranking(raw, kind, labels(1 + len(ask.subject.others)))


def dimensions_of(subject: Subject, judge: JudgeSpec, kind: Dimensions) -> Sequence[str]:
    """Names of the dimensions that the sample is rated in."""
    if not isinstance(kind.dimensions, str):
        return kind.dimensions
    found = templates.render_list(kind.dimensions, names(subject, [subject.answers], judge.constants))
    if not 0 < len(found) <= DIMENSION_LIMIT:
        raise InvalidSpec(f"judge {judge.name!r}: sample {subject.sample.id!r} has {len(found)} dimensions")
    return found


def judgement(ask: Ask, replies: Sequence[tuple[str, Response]], judge: JudgeSpec) -> Judgement:
    """Of the last of the replies, each with the id of its request."""
    reply = replies[-1][1]
    ids = tuple(request_id for request_id, _ in replies)
    if reply.error is not None:
        reason = f"the judge was not reached: {reply.error}"
        return _unscored(ask.subject, judge, ask.order, reason, replies=ids)
    try:
        found = read(ask, reply, judge)
    except Unreadable as unreadable:
        reason = f"the judge's verdict cannot be read: {unreadable}"
        return _unscored(ask.subject, judge, ask.order, reason, reply=reply.text, replies=ids)
    value = _for_the_model(found, ask)
    read_one = _judgement(ask.subject, judge, ask.order, value, "scored", "", reply.text, ids)
    return replace(read_one, verdict=found.text, dimensions=found.dimensions)


def _for_the_model(found: Verdict, ask: Ask) -> float | None:
    if found.places:
        return 1 - found.places[ask.place] / (len(found.places) - 1)
    if ask.order is None or found.value is None:
        return found.value
    return found.value if ask.place == 0 else 1 - found.value


def unasked(subject: Subject, judge: JudgeSpec) -> Judgement:
    """Of an empty answer: the worst verdict, in every dimension. A pair of two empty answers is a tie."""
    kind, value, dimensions = judge.verdict, 0.0, dict[str, float]()
    if isinstance(kind, Dimensions):
        dimensions = dict.fromkeys(dimensions_of(subject, judge, kind), kind.low)
    if isinstance(kind, Scale):
        value = kind.low
    elif isinstance(kind, Pairwise) and all(not answers[-1].strip() for _, answers in subject.others):
        value = 0.5
    worst = _judgement(subject, judge, None, value, "no_answer", "the model's answer is empty")
    return replace(worst, dimensions=dimensions)


def failed(subject: Subject, judge: JudgeSpec, reason: str) -> Judgement:
    """Of an answer that never came."""
    return _unscored(subject, judge, None, reason)


def _unscored(
    subject: Subject,
    judge: JudgeSpec,
    order: Order | None,
    reason: str,
    reply: str | None = None,
    replies: tuple[str, ...] = (),
) -> Judgement:
    return _judgement(subject, judge, order, None, "failed", reason, reply, replies)


def _judgement(
    subject: Subject,
    judge: JudgeSpec,
    order: Order | None,
    value: float | None,
    status: Status,
    explanation: str,
    reply: str | None = None,
    replies: tuple[str, ...] = (),
) -> Judgement:
    sample: Sample = subject.sample
    return Judgement(
        sample_id=sample.id,
        subset=sample.subset,
        attempt=subject.attempt,
        turn=subject.turn,
        judge=judge.name,
        order=order,
        opponents=subject.opponents,
        verdict=None,
        value=value,
        status=status,
        explanation=explanation,
        reply=reply,
        replies=replies,
    )
