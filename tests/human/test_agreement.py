"""Golden tables of published agreement, turned into rounds of people and judges and back into the same numbers."""

import itertools
from pathlib import Path

import pytest
import yaml

from llm_eval.human.agreement import Judged, agreement_rows
from llm_eval.human.judges import JudgeKey
from llm_eval.human.records import Answer, Key
from llm_eval.human.rounds import Round
from llm_eval.human.scoring import given
from llm_eval.specs import Human

GOLDEN = yaml.safe_load((Path(__file__).parents[1] / "golden" / "agreement.yaml").read_text())
PREFERENCE = Human(ask={"kind": "preference"})
RATING = Human(ask={"kind": "rating", "low": 1, "high": 3})
JUDGE = JudgeKey("critic", "rating")
WORTH = {"first": (2.0, 1.0), "tie": (1.0, 1.0), "second": (1.0, 2.0)}
SIDES = ("first", "tie", "second")


def a_round(human):
    return Round("memory://round", "s", "r", human, "seed", "2026-01-01", ())


def key(number, models=("a", "b"), swapped=False, runs=None, picked="random"):
    sides = models[::-1] if swapped else models
    return Key(f"i{number}", "d", f"s{number}", "", sides, tuple(runs or (f"run-{m}" for m in sides)), picked, 0.0)


def answer(number, said, rater="eve"):
    return Answer(f"i{number}", rater, said, "", "", "", "")


def cells(table):
    """(row, column) of each item of a table, in its order."""
    return [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]


def found(*args):
    return {(row.first, row.second, row.statistic): row for row in agreement_rows(*args)}


def as_shown(side, swapped):
    """The side that a preference for the first model is written as, wherever that model stands."""
    return {"first": "second", "second": "first"}.get(side, side) if swapped else side


@pytest.mark.parametrize("case", [c for c in GOLDEN["kappa"] if len(c["table"]) == 3], ids=lambda c: c["source"][:30])
def test_peoples_preferences_agree_with_a_judge_as_published_whatever_side_the_models_stand_on(case):
    pairs = cells(case["table"])
    keys = [key(n, swapped=n % 2 == 1) for n in range(len(pairs))]
    said = given([answer(n, as_shown(SIDES[i], n % 2 == 1)) for n, (i, _) in enumerate(pairs)])
    values = [WORTH[SIDES[j]] for _, j in pairs]
    judged = {
        f"run-{model}": Judged({JUDGE: {f"s{n}": of[place] for n, of in enumerate(values)}}, None)
        for place, model in enumerate("ab")
    }

    rows = found(a_round(PREFERENCE), keys, said, judged)

    kappa, percent = rows["human", "critic", "cohen_kappa"], rows["human", "critic", "percent_agreement"]
    assert kappa.value == pytest.approx(case["value"], abs=6e-4)
    if "low" in case:
        assert (kappa.ci_low, kappa.ci_high) == pytest.approx((case["low"], case["high"]), abs=6e-4)
    assert (kappa.n, kappa.left_out, kappa.metric) == (len(pairs), 0, "rating")
    assert percent.value == pytest.approx(sum(i == j for i, j in pairs) / len(pairs))


@pytest.mark.parametrize("case", [c for c in GOLDEN["weighted_kappa"] if c["weights"] == "quadratic"])
def test_peoples_ratings_agree_with_a_judge_as_published(case):
    pairs = cells(case["table"])
    keys = [key(n, models=("a",)) for n in range(len(pairs))]
    said = given([answer(n, str(i + 1)) for n, (i, _) in enumerate(pairs)])
    values = {f"s{n}": float(j + 1) for n, (_, j) in enumerate(pairs)}

    rows = found(a_round(RATING), keys, said, {"run-a": Judged({JUDGE: values}, (1, 2, 3))})

    assert rows["human", "critic", "weighted_kappa"].value == pytest.approx(case["value"], abs=6e-4)
    assert rows["human", "critic", "spearman"].n == len(pairs)


def test_a_judge_on_another_scale_is_only_ranked():
    keys = [key(n, models=("a",)) for n in range(4)]
    said = given([answer(n, str(r)) for n, r in enumerate((1, 2, 3, 3))])
    judged = {"run-a": Judged({JUDGE: {f"s{n}": v for n, v in enumerate((10.0, 40.0, 60.0, 90.0))}}, None)}

    assert [row.statistic for row in agreement_rows(a_round(RATING), keys, said, judged)] == ["spearman"]


def test_two_raters_are_compared_on_the_items_that_both_answered():
    table = GOLDEN["kappa"][2]
    pairs = cells(table["table"])
    keys = [key(n) for n in range(len(pairs) + 1)]
    both = [[answer(n, SIDES[i], "eve"), answer(n, SIDES[j], "dan")] for n, (i, j) in enumerate(pairs)]
    said = given([*itertools.chain(*both), answer(len(pairs), "tie", "eve")])

    rows = found(a_round(PREFERENCE), keys, said, {})

    assert rows["dan", "eve", "cohen_kappa"].value == pytest.approx(table["value"], abs=6e-4)
    assert {row.n for row in rows.values()} == {len(pairs)}


@pytest.mark.parametrize(("models", "preferred"), [(("a", "base"), "first"), (("z", "base"), "first")])
def test_against_a_baseline_a_judges_win_rate_is_its_verdict(models, preferred):
    run = f"run-{models[0]}"
    keys = [key(n, models=models, runs=(run, "")) for n in range(4)]
    said = given([answer(n, side) for n, side in enumerate((preferred, preferred, "tie", "second"))])
    values = {"s0": 1.0, "s1": 0.75, "s2": 0.5, "s3": 0.0}

    rows = found(a_round(PREFERENCE), keys, said, {run: Judged({JudgeKey("critic", "win_rate"): values}, None)})

    assert rows["human", "critic", "percent_agreement"].value == 1.0
    assert rows["human", "critic", "cohen_kappa"].value == 1.0


def test_a_rating_of_the_models_answer_alone_says_nothing_of_a_baseline():
    keys = [key(n, models=("a", "base"), runs=("run-a", "")) for n in range(4)]
    judged = {"run-a": Judged({JUDGE: {f"s{n}": 1.0 for n in range(4)}}, None)}

    assert found(a_round(PREFERENCE), keys, given([answer(n, "tie") for n in range(4)]), judged) == {}


def test_items_without_an_answer_of_both_are_left_out_and_counted():
    keys = [key(n) for n in range(5)]
    said = given([answer(n, "first") for n in range(3)])
    judged = {f"run-{m}": Judged({JUDGE: {"s0": v, "s1": v, "s4": v}}, None) for m, v in (("a", 2.0), ("b", 1.0))}

    row = found(a_round(PREFERENCE), keys, said, judged)["human", "critic", "percent_agreement"]

    assert (row.value, row.n, row.left_out) == (1.0, 2, 3)


def test_raters_of_one_item_count_as_one_and_a_split_is_a_tie():
    keys = [key(0), key(1)]
    said = given([answer(0, "first"), answer(0, "second", "dan"), answer(1, "first"), answer(1, "tie", "dan")])
    tied, preferred = {"s0": 1.0, "s1": 2.0}, {"s0": 1.0, "s1": 1.0}
    judged = {"run-a": Judged({JUDGE: tied}, None), "run-b": Judged({JUDGE: preferred}, None)}

    row = found(a_round(PREFERENCE), keys, said, judged)["human", "critic", "percent_agreement"]

    assert (row.value, row.n) == (1.0, 2)


def test_items_picked_by_disagreement_are_marked():
    keys = [key(0), key(1, picked="disagreement")]
    said = given([answer(0, "first"), answer(1, "first"), answer(0, "first", "dan"), answer(1, "tie", "dan")])

    assert {row.pick for row in agreement_rows(a_round(PREFERENCE), keys, said, {})} == {"disagreement"}
