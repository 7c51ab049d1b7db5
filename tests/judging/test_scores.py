"""What verdicts are worth, metric by metric: numbers worked out by hand."""

from __future__ import annotations

import pytest

from llm_eval.judging.judgements import unasked
from llm_eval.judging.scores import scores_of
from llm_eval.metrics import get_metric
from llm_eval.metrics.aggregate import aggregate
from llm_eval.specs import DatasetSpec
from tests.builders import DATASET, PAIR, judge, judgement, sample, subject

PAIRS = judge(**PAIR)
DIMENSIONS = judge(verdict={"kind": "dimensions", "dimensions": ["clear", "whole"], "overall": "all"})


def shown(*ids, **fields):
    return [subject("mine", "theirs", sample=sample(id), **fields) for id in ids]


def values(found, metric):
    return {s.sample_id: s.value for s in found if s.metric == metric}


def pair(id, as_is, swapped, **fields):
    """A pair asked in both orders; values are the model's: 1 won, 0 lost."""
    return [judgement(id, as_is, order="as_is", **fields), judgement(id, swapped, order="swapped", **fields)]


def row(found, name, extremes=None):
    of_metric = [s for s in found if s.metric == name]
    return aggregate(of_metric, get_metric(name), DatasetSpec.model_validate(DATASET), extremes)[0]


def test_simple_qa_s_figures():
    """openai/simple-evals, simpleqa_eval.py: of 10, 4 right, 3 wrong, 3 not attempted.

    accuracy 4/10; accuracy_given_attempted 4/7; F1 = 2·(4/7)·0.4 / (4/7 + 0.4) = 8/17.
    """
    graded = [1.0] * 4 + [0.0] * 3 + [None] * 3
    given = [judgement(f"s-{i}", value, status="scored") for i, value in enumerate(graded)]
    found = list(scores_of(given, shown(*(f"s-{i}" for i in range(10))), judge()))

    assert row(found, "judged_accuracy").estimate.value == 0.4
    assert row(found, "judged_accuracy_attempted").estimate.value == pytest.approx(4 / 7)
    assert row(found, "judged_accuracy_attempted").samples == 7
    assert row(found, "attempted").estimate.value == 0.7
    assert row(found, "judged_f1").estimate.value == pytest.approx(8 / 17)


def test_both_orders_of_a_pair():
    given = [*pair("won", 1.0, 1.0), *pair("first", 1.0, 0.0), *pair("second", 0.0, 1.0), *pair("half", 1.0, 0.5)]
    given += pair("tie", 0.5, 0.5)
    found = list(scores_of(given, shown("won", "first", "second", "half", "tie"), PAIRS))

    assert values(found, "win_rate") == {"won": 1.0, "first": 0.5, "second": 0.5, "half": 0.75, "tie": 0.5}
    assert values(found, "discrete_win_rate") == {"won": 1.0, "first": 0.5, "second": 0.5, "half": 1.0, "tie": 0.5}
    assert values(found, "consistency") == {"won": 1.0, "first": 0.0, "second": 0.0, "half": 0.0, "tie": 1.0}
    assert values(found, "position_bias") == {"won": 0.0, "first": 1.0, "second": 1.0, "half": 0.0, "tie": 0.0}
    assert values(found, "first_slot_rate") == {"won": 0.5, "first": 1.0, "second": 0.0, "half": 1.0}


def test_a_conservative_judge_lets_only_agreement_win():
    spec = judge(**{**PAIR, "verdict": {**PAIR["verdict"], "conservative": True}})
    given = [*pair("won", 1.0, 1.0), *pair("first", 1.0, 0.0), *pair("half", 1.0, 0.5), *pair("lost", 0.0, 0.0)]

    found = list(scores_of(given, shown("won", "first", "half", "lost"), spec))

    assert values(found, "win_rate") == {"won": 1.0, "first": 0.5, "half": 0.5, "lost": 0.0}


def test_clear_wins_are_three_games_of_bradley_terry():
    """lmarena/arena-hard-auto, show_result.py with WEIGHT 3; of two players the win rate is the share of games won.

    One clear win and one slight loss: 3 games won, 1 lost. A tie: half a game each way, in each order.
    """
    clear = [
        judgement("s-1", 1.0, order="as_is", verdict="first_much"),
        judgement("s-1", 0.0, order="swapped", verdict="first"),
    ]
    found = list(scores_of([*clear, *pair("s-2", 0.5, 0.5, verdict="tie")], shown("s-1", "s-2"), PAIRS))

    assert [s.statistics for s in found if s.metric == "bradley_terry"] == [(3.0, 1.0), (1.0, 1.0)]
    assert row(found, "bradley_terry").estimate.value == pytest.approx(4 / 6)


def test_an_empty_answer_loses_as_many_games_as_one_that_is_judged():
    (blank,) = shown("s-1", answers=("  ",))
    found = list(scores_of([unasked(blank, PAIRS)], [blank], PAIRS))

    assert [s.statistics for s in found if s.metric == "bradley_terry"] == [(0.0, 2.0)]
    assert {(s.value, s.status) for s in found if s.metric == "win_rate"} == {(0.0, "no_answer")}
    assert values(found, "consistency") == {}


def test_two_empty_answers_are_a_tie():
    both = subject("", " ")

    assert values(scores_of([unasked(both, PAIRS)], [both], PAIRS), "win_rate") == {"s-1": 0.5}


def test_one_unreadable_order_fails_the_sample_in_every_metric():
    given = [*pair("ok", 1.0, 1.0), *pair("broken", 1.0, None)]
    found = list(scores_of(given, shown("ok", "broken"), PAIRS))

    assert values(found, "win_rate") == {"ok": 1.0, "broken": None}
    assert {s.status for s in found if s.sample_id == "broken"} == {"failed"}
    assert (row(found, "win_rate").samples, row(found, "win_rate").failed) == (2, 1)


def test_the_lengths_of_several_attempts_are_averaged():
    given = [each for attempt in (0, 1) for each in pair("s-1", 1.0, 1.0, attempt=attempt)]
    given += [each for attempt in (0, 1) for each in pair("s-2", 0.0, 0.0, attempt=attempt)]
    subjects = [s for attempt in (0, 1) for s in shown("s-1", "s-2", attempt=attempt)]
    once = [s for s in scores_of(given, subjects, PAIRS) if s.attempt == 0]
    twice = list(scores_of(given, subjects, PAIRS))

    for metric in ("length_controlled_win_rate", "style_controlled_win_rate"):
        assert row(twice, metric).estimate.value == pytest.approx(row(once, metric).estimate.value)
        assert 0 <= row(twice, metric).estimate.value <= 1


def test_a_conversation_has_the_mean_of_its_turns_and_each_turn():
    found = list(
        scores_of(
            [judgement(value=8.0, turn=1), judgement(value=5.0, turn=2)],
            shown("s-1"),
            judge(verdict={"kind": "rating"}),
        )
    )

    assert {s.metric: s.value for s in found} == {"rating": 6.5, "rating:turn-1": 8.0, "rating:turn-2": 5.0}


def test_a_failed_turn_fails_the_sample_and_is_counted_with_each_turn():
    given = [judgement(value=8.0, turn=1), judgement(value=None, turn=2, explanation="unreadable")]
    found = list(scores_of(given, shown("s-1"), judge(verdict={"kind": "rating"})))

    assert {s.metric: s.value for s in found} == {"rating": None, "rating:turn-1": None, "rating:turn-2": None}
    assert {s.explanation for s in found} == {"turn 2: unreadable"}


def test_empty_and_failed_answers_count_in_every_dimension():
    rated = judgement("ok", 8.0, dimensions={"clear": 7.0, "whole": 9.0})
    blank = subject(" ", sample=sample("blank"))
    subjects = [subject(sample=sample("ok")), blank, subject(sample=sample("broken"))]
    found = list(scores_of([rated, unasked(blank, DIMENSIONS), judgement("broken", None)], subjects, DIMENSIONS))

    assert values(found, "rating") == {"ok": 8.0, "blank": 1.0, "broken": None}
    assert values(found, "rating:clear") == {"ok": 7.0, "blank": 1.0, "broken": None}
    assert values(found, "rating:whole") == {"ok": 9.0, "blank": 1.0, "broken": None}


def test_bounds_are_the_mean_with_the_failed_at_either_end_of_the_scale():
    """8, 5 and one that failed, on a scale of 1 to 10: (8 + 5 + 1) / 3 and (8 + 5 + 10) / 3."""
    given = [judgement("a", 8.0), judgement("b", 5.0), judgement("c", None)]
    found = row(list(scores_of(given, shown("a", "b", "c"), judge(verdict={"kind": "rating"}))), "rating", (1.0, 10.0))

    assert found.estimate.value == 6.5
    assert found.bounds == pytest.approx((14 / 3, 23 / 3))


def test_a_ranking_is_worth_the_share_of_the_others_behind():
    spec = judge(verdict={"kind": "ranking"})
    three = subject("a", "b", "c")  # second of three in one order, first in the other
    found = list(scores_of([judgement(value=0.5, order="as_is"), judgement(value=1.0, order="swapped")], [three], spec))

    assert {s.metric: s.value for s in found} == {"win_rate": 0.75, "rank": 1.5}
