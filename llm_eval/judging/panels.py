"""Several judges together: the mean of what they say, or what more than half of them say; and a rule before them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from llm_eval.records import Score, Status
from llm_eval.specs import Judging

ScoreKey = tuple[str, int, str]
"""Sample id, attempt and metric."""
VOTED = frozenset({"judged_accuracy", "win_rate"})
"""What a vote decides: right or wrong, won, lost or tied."""
CASCADE = "cascade_accuracy"


def name_of(metric: str, judge: str) -> str:
    """What the value that one judge of several gave is published as."""
    return f"{metric}@{judge}"


def together(by_judge: Mapping[str, Sequence[Score]], judging: Judging) -> list[Score]:
    """All scores of all judges: of one judge as they are; of several the panel's, and each one's own beside it."""
    if len(by_judge) == 1:
        return [score for scores in by_judge.values() for score in scores]
    own = [
        replace(score, metric=name_of(score.metric, judge)) for judge, scores in by_judge.items() for score in scores
    ]
    return [*_panel(by_judge, judging), *own]


def _panel(by_judge: Mapping[str, Sequence[Score]], judging: Judging) -> Iterator[Score]:
    """A sample that one of the judges has no score for has failed, but where the others are a majority already."""
    keyed: list[dict[ScoreKey, Score]] = [
        {(score.sample_id, score.attempt, score.metric): score for score in scores} for scores in by_judge.values()
    ]
    for key in dict.fromkeys(key for of_judge in keyed for key in of_judge):
        found = [of_judge[key] for of_judge in keyed if key in of_judge]
        if len(found) < len(keyed):
            continue  # a metric of some samples only, such as the accuracy over what was attempted
        if judging.combine == "mean":
            yield _mean(found)
        elif key[2] in VOTED:
            yield _vote(found, by_judge)


def _mean(found: Sequence[Score]) -> Score:
    if failed := [score for score in found if score.value is None]:
        return failed[0]
    values = [score.value for score in found if score.value is not None]
    return replace(
        found[0],
        value=math.fsum(values) / len(values),
        status="scored" if any(score.status == "scored" for score in found) else "no_answer",
        explanation=" | ".join(score.explanation for score in found),
        statistics=tuple(math.fsum(each) / len(found) for each in zip(*(s.statistics for s in found), strict=True)),
    )


def _vote(found: Sequence[Score], judges: Mapping[str, object]) -> Score:
    """A tie where no side of a pair has more than half of all judges, whatever those that failed would have said."""
    verdicts = [None if s.value is None else (s.value > 0.5) - (s.value < 0.5) for s in found]
    said = " | ".join(f"{judge}: {score.explanation}" for judge, score in zip(judges, found, strict=True))
    for side, value in ((1, 1.0), (-1, 0.0)):
        if 2 * verdicts.count(side) > len(found):
            status: Status = (
                "no_answer" if all(s.status == "no_answer" for s in found if s.value is not None) else "scored"
            )
            return replace(found[0], value=value, status=status, explanation=said, statistics=())
    if any(2 * (verdicts.count(side) + verdicts.count(None)) > len(found) for side in (1, -1)) and None in verdicts:
        return replace(found[0], value=None, status="failed", explanation=f"no majority without it: {said}")
    return replace(found[0], value=0.5, status="scored", explanation=said, statistics=())


def undecided(rule: Sequence[Score], judging: Judging) -> set[tuple[str, int]]:
    """Samples, with attempt, that the rule leaves to the judges."""
    wrong_too = judging.after_rule == "wrong"
    return {
        (score.sample_id, score.attempt)
        for score in rule
        if score.status == "no_answer" or (wrong_too and score.status == "scored" and (score.value or 0.0) < 1)
    }


def cascade(rule: Sequence[Score], judged: Sequence[Score]) -> Iterator[Score]:
    """The rule's value where it decided, the judges' where it did not."""
    by_judges = {(s.sample_id, s.attempt): s for s in judged if s.metric == "judged_accuracy"}
    for score in rule:
        decided = by_judges.get((score.sample_id, score.attempt))
        by = "the rule" if decided is None else "the judge"
        last = score if decided is None else decided
        yield replace(last, metric=CASCADE, explanation=f"by {by}: {last.explanation}".rstrip(": "), statistics=())
