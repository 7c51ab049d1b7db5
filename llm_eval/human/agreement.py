"""How far people agree with the LLM judges on the same answers, and with one another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llm_eval.agreement.correlation import spearman
from llm_eval.agreement.kappa import cohen_kappa, percent_agreement, weighted_kappa
from llm_eval.agreement.ratings import Agreement, Rating
from llm_eval.human.judges import JudgeKey, Values
from llm_eval.human.picking import is_random
from llm_eval.human.records import AgreementRow, Key
from llm_eval.human.rounds import Round
from llm_eval.human.scoring import JUDGE, Given, consensus, value_for
from llm_eval.specs import HumanRating

Ratings = Sequence[Rating | None]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a run's LLM judges said: the values of each, and the whole numbers they rate in, None where they do not."""

    values: Mapping[JudgeKey, Values]
    scale: tuple[int, ...] | None


def agreement_rows(
    made: Round, keys: Sequence[Key], said: Given, judged: Mapping[str, Judged]
) -> Iterator[AgreementRow]:
    """For each dataset: people against each judge, then each two people who answered the same items.

    judged: by the run's address. Items without an answer of both are left out and counted. A preference is compared as
    one of three labels, one model better, the other, or a tie. A judge that compared both models with a baseline, or
    rated them, prefers the one that it gave more.
    """
    for dataset in dict.fromkeys(key.dataset for key in keys):
        mine = [key for key in keys if key.dataset == dataset]
        people = [_person(made, key, consensus(key, _model(key), said.get(key.item_id, ()))) for key in mine]
        runs = [judged[run] for key in mine for run in key.runs if run in judged]
        for judge in dict.fromkeys(judge for run in runs for judge in run.values):
            said_by_judge = [_judge_says(key, judge, judged) for key in mine]
            if any(said is not None for said in said_by_judge):
                scales = {run.scale for run in runs if judge in run.values}
                for statistic, found in _statistics(made, people, said_by_judge, scales):
                    yield _row(made, mine, (JUDGE, *judge), statistic, found)
        yield from _between_raters(made, mine, said)


def _between_raters(made: Round, keys: Sequence[Key], said: Given) -> Iterator[AgreementRow]:
    by_rater: dict[str, dict[str, Rating | None]] = {}
    for key in keys:
        for answer in said.get(key.item_id, ()):
            value = value_for(key, _model(key), answer)
            by_rater.setdefault(answer.rater, {})[key.item_id] = _person(made, key, value)
    for first, second in itertools.combinations(sorted(by_rater), 2):
        both = [key.item_id for key in keys if key.item_id in by_rater[first] and key.item_id in by_rater[second]]
        if both:
            of_first, of_second = ([by_rater[rater][item_id] for item_id in both] for rater in (first, second))
            for statistic, found in _statistics(made, of_first, of_second, {_scale(made)}):
                yield _row(made, keys, (first, second, None), statistic, found)


def _statistics(
    made: Round, first: Ratings, second: Ratings, scales: set[tuple[int, ...] | None]
) -> Iterator[tuple[str, Agreement]]:
    """scales: that of the second rater's numbers. Numbers of another scale than people's are only ranked."""
    if not isinstance(made.human.ask, HumanRating):
        yield "percent_agreement", percent_agreement(first, second)
        yield "cohen_kappa", cohen_kappa(first, second)
        return
    yield "spearman", spearman(first, second)
    scale = made.human.ask.scale
    if scales == {scale} and all(value in scale for value in (*first, *second) if value is not None):
        yield "percent_agreement", percent_agreement(first, second)
        yield "weighted_kappa", weighted_kappa(first, second, [float(value) for value in scale])


def _scale(made: Round) -> tuple[int, ...] | None:
    return made.human.ask.scale if isinstance(made.human.ask, HumanRating) else None


def _model(key: Key) -> str:
    """The model whose side labels are given from: of two, the first by name, wherever it was shown."""
    return min(key.models)


def _person(made: Round, key: Key, value: float | None) -> Rating | None:
    if value is None or isinstance(made.human.ask, HumanRating):
        return value
    return _label(value - 0.5)


def _label(difference: float) -> str:
    return "better" if difference > 0 else "worse" if difference < 0 else "tie"


def _judge_says(key: Key, judge: JudgeKey, judged: Mapping[str, Judged]) -> Rating | None:
    """The judge's value of an answer, or which of two it prefers; None where it has not judged all of them."""
    by_model = {
        model: judged[run].values.get(judge, {}).get(key.sample_id)
        for model, run in zip(key.models, key.runs, strict=True)
        if run in judged
    }
    values = [by_model.get(model) for model in sorted(key.models)]
    if len(key.models) == 1:
        return values[0]
    if "" not in key.runs:
        first, second = values
        return None if first is None or second is None else _label(first - second)
    if judge.metric != "win_rate":
        return None  # a value of the model's answer alone says nothing of the baseline's
    (model,) = (model for model, run in zip(key.models, key.runs, strict=True) if run)
    value = by_model.get(model)
    if value is None:
        return None
    return _label(value - 0.5 if model == _model(key) else 0.5 - value)


def _row(
    made: Round, keys: Sequence[Key], raters: tuple[str, str, str | None], statistic: str, found: Agreement
) -> AgreementRow:
    """Of the items of one dataset. raters: their names, and the metric of the second's values."""
    first, second, metric = raters
    return AgreementRow(
        suite=made.suite,
        round=made.name,
        kind=made.human.ask.kind,
        pick="random" if is_random(keys) else "disagreement",
        dataset=keys[0].dataset,
        first=first,
        second=second,
        metric=metric,
        statistic=statistic,
        picked_at=made.picked_at,
        **found._asdict(),
    )
