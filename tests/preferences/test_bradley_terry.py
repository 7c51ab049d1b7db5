"""Bradley-Terry models against published and official numbers (tests/golden/battles.yaml), and where they diverge."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.errors import EmptyScores, InvalidData, UnknownName
from llm_eval.preferences.battles import Battle, arena_hard_battle
from llm_eval.preferences.bradley_terry import bradley_terry, win_rates_against
from llm_eval.statistics import wilson

GOLDEN = yaml.safe_load((Path(__file__).parents[1] / "golden" / "battles.yaml").read_text(encoding="utf-8"))


def arena_hard_battles():
    return [
        battle
        for question, model, anchor_first, model_first in GOLDEN["arena_hard"]["games"]
        for battle in (
            arena_hard_battle(str(question), "anchor", model, anchor_first),
            arena_hard_battle(str(question), model, "anchor", model_first),
        )
    ]


def won(player, opponent, count=1, start=0):
    return [Battle(str(start + i), player, opponent, 1.0) for i in range(count)]


def test_journals_as_published():
    case = GOLDEN["citations"]
    journals = case["journals"]
    battles = [
        Battle("q", cited, citing, 1.0, count)
        for cited, row in zip(journals, case["cited"], strict=True)
        for citing, count in zip(journals, row, strict=True)
        if cited != citing
    ]

    found = bradley_terry(battles)

    assert found.players == tuple(journals)
    assert [round(odds, 4) for odds in found.log_odds] == case["log_odds"]


def test_ratings_as_arena_hard_computes_them():
    assert bradley_terry(arena_hard_battles()).ratings("anchor") == pytest.approx(
        GOLDEN["arena_hard"]["ratings"], abs=1e-4
    )


@pytest.mark.parametrize(
    ("grade", "score", "weight"), [("A>>B", 1, 3), ("A>B", 1, 1), ("A=B", 0.5, 1), ("B>A", 0, 1), ("B>>A", 0, 3)]
)
def test_a_battle_won_by_far_counts_three_times_and_a_tie_half_for_both(grade, score, weight):
    assert arena_hard_battle("q", "x", "y", grade) == Battle("q", "x", "y", score, weight)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 0.7, 1.0]), st.sampled_from([1.0, 3.0]), st.booleans()), min_size=1)
)
@settings(deadline=None, database=None)
def test_of_two_players_the_win_rate_is_the_weighted_share_of_wins(games):
    battles = [
        Battle(str(i), "x", "y", score, weight) if as_player else Battle(str(i), "y", "x", 1 - score, weight)
        for i, (score, weight, as_player) in enumerate(games)
    ]

    share = sum(score * weight for score, weight, _ in games) / sum(weight for _, weight, _ in games)
    assert bradley_terry(battles).win_rate("x", "y") == pytest.approx(share, abs=1e-9)
    assert bradley_terry(battles).win_rate("y", "x") == pytest.approx(1 - share, abs=1e-9)


def test_players_who_never_met_are_compared_through_others():
    battles = won("a", "b", 3) + won("b", "a", 1) + won("b", "c", 3) + won("c", "b", 1)

    found = bradley_terry(battles)

    assert found.win_rate("a", "c") == pytest.approx(9 / 10)  # odds of 3 by odds of 3
    assert found.ratings("b") == pytest.approx({"a": 1190.8485, "b": 1000, "c": 809.1515})  # 400 log10(3) apart


def test_who_always_wins_has_a_win_rate_of_1_no_rating_and_an_interval():
    battles = won("strong", "anchor", 20) + won("even", "anchor", 6) + won("anchor", "even", 6)

    found = win_rates_against("anchor", battles, resamples=200)

    assert bradley_terry(battles).ratings("anchor") == {"anchor": 1000, "even": pytest.approx(1000), "strong": None}
    assert found["strong"] == (1.0, 0.0, wilson(20, 20).ci_low, 1.0)
    assert found["even"].value == pytest.approx(0.5)


def test_a_long_chain_of_near_certain_wins_does_not_overflow():
    names = [f"{i:02}" for i in range(60)]
    battles = [Battle(f"{one}", one, other, 1 - 1e-8) for one, other in pairwise(names)]

    found = bradley_terry(battles)

    assert found.win_rate("00", "01") == pytest.approx(1 - 1e-8, abs=1e-12)
    assert (found.win_rate("00", "59"), found.win_rate("59", "00")) == (1.0, pytest.approx(0.0))
    assert found.ratings("00")["59"] == pytest.approx(1000 - 59 * 3200, rel=1e-4)


def test_who_beat_only_someone_better_than_the_anchor_beats_the_anchor():
    found = bradley_terry([*won("a", "b"), *won("b", "c")])

    assert (found.win_rate("a", "c"), found.win_rate("c", "a")) == (1.0, 0.0)


def test_who_cannot_be_compared_with_the_anchor_has_no_win_rate():
    found = win_rates_against("anchor", [*won("a", "b"), *won("anchor", "b")], resamples=20)

    assert found["a"] is None
    assert found["b"].value == 0.0
    assert bradley_terry([*won("a", "b"), *won("anchor", "b")]).ratings("a")["anchor"] is None


def test_both_games_of_a_question_are_drawn_together():
    draw = random.Random(3)
    scores = [float(draw.random() < 0.6) for _ in range(150)]
    once = [Battle(str(i), "model", "anchor", score) for i, score in enumerate(scores)]
    twice = once + [Battle(b.question, "anchor", "model", 1 - b.score) for b in once]

    found = [win_rates_against("anchor", battles, resamples=400)["model"] for battles in (once, twice)]

    # asked twice with the same outcome is no more evidence than asked once
    assert found[1] == pytest.approx(found[0], abs=1e-9)
    assert found[0].stderr == pytest.approx(wilson(int(sum(scores)), 150).stderr, rel=0.1)


def test_ties_alone_keep_a_width():
    found = win_rates_against("y", [Battle(str(i), "x", "y", 0.5) for i in range(10)], resamples=50)["x"]

    assert found == pytest.approx((0.5, 0.0, wilson(5, 10).ci_low, wilson(5, 10).ci_high))


def test_one_question_knows_no_error():
    found = win_rates_against("y", [Battle("q", "x", "y", 1.0), Battle("q", "x", "y", 0.0)], resamples=20)["x"]

    assert (found.value, found.stderr) == (pytest.approx(0.5), None)
    assert (found.ci_low, found.ci_high) == (wilson(0, 1).ci_low, wilson(1, 1).ci_high)


def test_intervals_depend_on_the_seed_and_not_on_who_is_named_first():
    battles = arena_hard_battles()
    turned = [Battle(b.question, b.opponent, b.player, 1 - b.score, b.weight) for b in battles]

    one = win_rates_against("anchor", battles, resamples=50, seed=1)

    assert one == win_rates_against("anchor", battles, resamples=50, seed=1)
    assert one["one"] == pytest.approx(win_rates_against("anchor", turned, resamples=50, seed=1)["one"])
    assert one != win_rates_against("anchor", battles, resamples=50, seed=2)


def test_bad_battles_are_named():
    with pytest.raises(EmptyScores):
        bradley_terry([])
    for battle in (Battle("q", "x", "x", 1), Battle("q", "x", "y", 1.5), Battle("q", "x", "y", 1, 0)):
        with pytest.raises(InvalidData, match="two players, with a score of 0 to 1"):
            bradley_terry([battle])
    with pytest.raises(InvalidData, match="question '7': 'A>C' is not one of the grades"):
        arena_hard_battle("7", "x", "y", "A>C")
    with pytest.raises(UnknownName, match="'z' is not known"):
        win_rates_against("z", won("x", "y"))
