"""From people's answers to scores, and to judgements beside those of the LLM judges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from llm_eval.human.records import FIRST, SECOND, TIE, Answer, Key
from llm_eval.human.rounds import Round
from llm_eval.preferences.win_rates import win_rate
from llm_eval.records import Judgement, Score
from llm_eval.specs import HumanPreference, HumanRating
from llm_eval.statistics import Estimate, mean_estimate

JUDGE = "human"
PREFERENCE, RATING = "human_preference", "human_rating"
_WORTH = {FIRST: 1.0, TIE: 0.5, SECOND: 0.0}

Given = Mapping[str, Sequence[Answer]]
"""Item id → the answers to it; those of raters who skipped it left out."""


class Counts(NamedTuple):
    """Of a round: items, answers that were hoped for (items x raters) and given, items nobody answered, raters."""

    items: int
    asked: int
    answered: int
    unanswered: int
    raters: int


def metric_of(made: Round) -> str:
    return PREFERENCE if isinstance(made.human.ask, HumanPreference) else RATING


def given(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.answer is not None:
            found.setdefault(answer.item_id, []).append(answer)
    return found


def counts(made: Round, keys: Sequence[Key], said: Given) -> Counts:
    return Counts(
        items=len(keys),
        asked=len(keys) * made.human.raters,
        answered=sum(len(answers) for answers in said.values()),
        unanswered=sum(key.item_id not in said for key in keys),
        raters=len({answer.rater for answers in said.values() for answer in answers}),
    )


def value_for(key: Key, model: str, answer: Answer) -> float:
    """What an answer is worth for one of the models shown: 1, 0.5 or 0 of a preference, a rating as it is."""
    assert answer.answer is not None  # of one that was given
    if len(key.models) == 1:
        return float(answer.answer)
    worth = _WORTH[answer.answer]
    return worth if model == key.models[0] else 1 - worth


def consensus(key: Key, model: str, answers: Sequence[Answer]) -> float | None:
    """The mean over all raters of an item; None where nobody answered it."""
    return _mean([value_for(key, model, answer) for answer in answers]) if answers else None


def scores_of(made: Round, keys: Sequence[Key], said: Given) -> dict[str, list[Score]]:
    """A score for each sample of each run that was asked about, by the run's address.

    The value is the mean over the opponents that the answer stood beside, of each the mean over its raters. A sample
    that nobody answered has failed: the model is not to blame.
    """
    samples: dict[tuple[str, str], list[Key]] = {}
    for key in keys:
        for run in key.runs:
            if run:
                samples.setdefault((run, key.sample_id), []).append(key)
    found: dict[str, list[Score]] = {}
    for (run, _), shown in samples.items():
        found.setdefault(run, []).append(_score(made, run, shown, said))
    return found


def _score(made: Round, run: str, shown: Sequence[Key], said: Given) -> Score:
    values, told = [], []
    for key in shown:
        model, answers = key.models[key.runs.index(run)], said.get(key.item_id, ())
        value = consensus(key, model, answers)
        if value is not None:
            values.append(value)
        told += [f"{answer.rater}: {value_for(key, model, answer):g}" for answer in answers]
    return Score(
        sample_id=shown[0].sample_id,
        subset=shown[0].subset,
        attempt=0,
        metric=metric_of(made),
        value=_mean(values) if values else None,
        status="scored" if values else "failed",
        explanation="; ".join(told) if told else "nobody answered",
    )


def estimate(made: Round, scores: Sequence[Score]) -> Estimate | None:
    """The mean over samples, with its interval; None where nobody answered anything."""
    values = [score.value for score in scores if score.value is not None]
    if not values:
        return None
    ask = made.human.ask
    if isinstance(ask, HumanRating):
        return mean_estimate(values, (float(ask.low), float(ask.high)))
    return win_rate(values)


def judgements_of(run: str, keys: Sequence[Key], said: Given) -> Iterator[tuple[str, Judgement]]:
    """Each answer about a run as a judgement, with its rater; one that failed for each item that nobody answered."""
    for key in keys:
        if run not in key.runs:
            continue
        place = key.runs.index(run)
        answers = said.get(key.item_id, ())
        for answer in answers or (None,):
            yield (
                answer.rater if answer else "",
                Judgement(
                    sample_id=key.sample_id,
                    subset=key.subset,
                    attempt=0,
                    turn=1,
                    judge=JUDGE,
                    order=None if len(key.models) == 1 else ("as_is", "swapped")[place],
                    opponents=tuple(name for i, name in enumerate(key.models) if i != place),
                    verdict=answer.answer if answer else None,
                    value=value_for(key, key.models[place], answer) if answer else None,
                    status="scored" if answer else "failed",
                    explanation=answer.comment if answer else "nobody answered",
                ),
            )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
