"""From judgements to scores: what one judge's verdicts on a sample are worth, metric by metric.

A sample whose verdicts are not all there has failed as a whole: half of a pair, or one turn of two, would be another
number. Sources: each metric's own definition stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from llm_eval.judging.judgements import dimensions_of
from llm_eval.judging.subjects import Subject
from llm_eval.preferences.style import style_of
from llm_eval.records import Judgement, Score, Status
from llm_eval.specs import Correctness, Dimensions, JudgeSpec, Pairwise, Ranking, Scale

SampleKey = tuple[str, int]
"""Sample id and attempt."""


def headline_of(judge: JudgeSpec) -> str:
    """The metric that stands for what a judge says."""
    default = {"correctness": "judged_accuracy", "rating": "rating", "dimensions": "rating"}
    return judge.headline or default.get(judge.verdict.kind, "win_rate")


def metrics_of(judge: JudgeSpec) -> tuple[str, ...]:
    """Names of the metrics that a judge may give, but for its dimensions and turns."""
    match judge.verdict:
        case Correctness():
            return ("judged_accuracy", "judged_accuracy_attempted", "attempted", "judged_f1")
        case Scale():
            return ("rating",)
        case Pairwise():
            return (
                "win_rate",
                "discrete_win_rate",
                "length_controlled_win_rate",
                "bradley_terry",
                "style_controlled_win_rate",
                "consistency",
                "first_slot_rate",
                "position_bias",
            )
        case Ranking():
            return ("win_rate", "rank")


def scores_of(judgements: Sequence[Judgement], subjects: Sequence[Subject], judge: JudgeSpec) -> Iterator[Score]:
    """All metrics of one judge, sample by sample. `subjects` are those that were judged."""
    by_sample: dict[SampleKey, list[Judgement]] = {}
    for each in judgements:
        by_sample.setdefault((each.sample_id, each.attempt), []).append(each)
    last = {(subject.sample.id, subject.attempt): subject for subject in subjects}
    for key, of_sample in by_sample.items():
        subject = last[key]
        broken = next((each for each in of_sample if each.status == "failed"), None)
        if broken is not None:
            where = f"turn {broken.turn}: " if len({each.turn for each in of_sample}) > 1 else ""
            for metric in (*metrics_of(judge), *_parts(of_sample, subject, judge)):
                yield _score(subject, metric, None, "failed", f"{where}{broken.explanation}")
            continue
        match judge.verdict:
            case Correctness():
                yield from _correctness(subject, of_sample)
            case Scale():
                yield from _ratings(subject, of_sample)
            case Pairwise() as kind:
                yield from _pairs(subject, of_sample, kind)
            case Ranking():
                yield from _ranking(subject, of_sample)


def _parts(judgements: Sequence[Judgement], subject: Subject, judge: JudgeSpec) -> Iterator[str]:
    """Metrics of single turns and dimensions: a sample that failed counts in their rows too."""
    if isinstance(judge.verdict, Scale) and len(judgements) > 1:
        yield from (f"rating:turn-{each.turn}" for each in judgements)
    if isinstance(judge.verdict, Dimensions):
        yield from (f"rating:{name}" for name in dimensions_of(subject, judge, judge.verdict))


def _correctness(subject: Subject, judgements: Sequence[Judgement]) -> Iterator[Score]:
    """SimpleQA's four figures (openai/simple-evals): not attempted is not right, and leaves accuracy_attempted."""
    values = [each.value for each in judgements]
    value = _mean([each or 0.0 for each in values])
    attempted = _mean([float(each is not None) for each in values])
    status, said = _status(judgements), _said(judgements)
    yield _score(subject, "judged_accuracy", value, status, said)
    if attempted > 0:
        yield _score(subject, "judged_accuracy_attempted", value / attempted, status, said)
    yield _score(subject, "attempted", attempted, status, said)
    yield _score(subject, "judged_f1", value, status, said, (value, 1.0, attempted))


def _ratings(subject: Subject, judgements: Sequence[Judgement]) -> Iterator[Score]:
    """The mean over turns, each turn, and each dimension that has a rating."""
    status, said = _status(judgements), _said(judgements)
    yield _score(subject, "rating", _mean([_known(each.value) for each in judgements]), status, said)
    if len(judgements) > 1:
        for each in judgements:
            yield _score(subject, f"rating:turn-{each.turn}", _known(each.value), each.status, _said([each]))
    for name in dict.fromkeys(name for each in judgements for name in each.dimensions):
        found = [each.dimensions[name] for each in judgements if name in each.dimensions]
        yield _score(subject, f"rating:{name}", _mean(found), status, said)


def _pairs(subject: Subject, judgements: Sequence[Judgement], kind: Pairwise) -> Iterator[Score]:
    status, said = _status(judgements), _said(judgements)
    turns: dict[int, list[Judgement]] = {}
    for each in judgements:
        turns.setdefault(each.turn, []).append(each)
    preference = _mean([_preference(of_turn, kind) for of_turn in turns.values()])
    yield _score(subject, "win_rate", preference, status, said)
    yield _score(subject, "discrete_win_rate", _discrete(preference), status, said)
    own, other = subject.answers[-1], subject.others[0][1][-1]
    yield _score(
        subject,
        "length_controlled_win_rate",
        preference,
        status,
        said,
        (preference, float(len(own)), float(len(other)), 1.0),
    )
    wins = math.fsum(_games(each, kind, True) for each in judgements)
    losses = math.fsum(_games(each, kind, False) for each in judgements)
    share = wins / (wins + losses)
    yield _score(subject, "bradley_terry", share, status, said, (wins, losses))
    yield _score(
        subject, "style_controlled_win_rate", share, status, said, (wins, losses, *style_of(own), *style_of(other), 1.0)
    )
    both = [of_turn for of_turn in turns.values() if len(of_turn) == 2]
    if both:
        yield _score(subject, "consistency", _mean([float(_side(a) == _side(b)) for a, b in both]), status, said)
        yield _score(subject, "position_bias", _mean([float(_same_slot(a, b)) for a, b in both]), status, said)
    decided = [each for each in judgements if each.order is not None and _side(each) != 0]
    if decided:
        yield _score(subject, "first_slot_rate", _mean([float(_slot(each) == 1) for each in decided]), status, said)


def _preference(judgements: Sequence[Judgement], kind: Pairwise) -> float:
    """Of one turn, 0 to 1, over both orders."""
    values = [_known(each.value) for each in judgements]
    if kind.conservative and len({_discrete(value) for value in values}) > 1:
        return 0.5
    return _mean(values)


def _games(judgement: Judgement, kind: Pairwise, won: bool) -> float:
    """Games won (or lost) that a verdict stands for: `much` of them for a clear win, half a game for a tie."""
    value = _known(judgement.value)
    weight = kind.much if (judgement.verdict or "").endswith("_much") else 1.0
    if judgement.order is None and kind.both_orders:
        weight *= 2  # not asked, where another would have been asked twice
    return weight * (value if won else 1 - value)


def _side(judgement: Judgement) -> int:
    """1 for the model, -1 for the other, 0 for a tie."""
    value = _known(judgement.value)
    return (value > 0.5) - (value < 0.5)


def _slot(judgement: Judgement) -> int:
    """1 if the answer shown first is the better one, -1 if the second, 0 for a tie."""
    return _side(judgement) if judgement.order == "as_is" else -_side(judgement)


def _same_slot(first: Judgement, second: Judgement) -> bool:
    """Position bias as OpenCompass counts it (CompassArena): the same slot in both orders, ties left out."""
    return _slot(first) == _slot(second) != 0


def _ranking(subject: Subject, judgements: Sequence[Judgement]) -> Iterator[Score]:
    status, said = _status(judgements), _said(judgements)
    beaten = _mean([_known(each.value) for each in judgements])
    yield _score(subject, "win_rate", beaten, status, said)
    yield _score(subject, "rank", 1 + (1 - beaten) * len(subject.others), status, said)


def _discrete(preference: float) -> float:
    return 0.5 if preference == 0.5 else float(preference > 0.5)


def _status(judgements: Sequence[Judgement]) -> Status:
    return "no_answer" if all(each.status == "no_answer" for each in judgements) else "scored"


def _said(judgements: Sequence[Judgement]) -> str:
    """For people: every verdict, with its turn and order where there are several."""
    shown = []
    for each in judgements:
        place = [f"turn {each.turn}"] if each.turn > 1 else []
        place += [each.order.replace("_", " ")] if each.order is not None else []
        shown.append(": ".join([*([", ".join(place)] if place else []), each.verdict or each.explanation]))
    return "; ".join(shown)


def _score(
    subject: Subject,
    metric: str,
    value: float | None,
    status: Status,
    explanation: str,
    statistics: Sequence[float] = (),
) -> Score:
    sample = subject.sample
    return Score(
        sample_id=sample.id,
        subset=sample.subset,
        attempt=subject.attempt,
        metric=metric,
        value=value,
        status=status,
        explanation=explanation,
        statistics=tuple(statistics),
    )


def _known(value: float | None) -> float:
    assert value is not None  # of a rating, a pair or a ranking that has not failed
    return value


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
