"""Kappa against published worked examples (tests/golden/agreement.yaml), and where it says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.agreement.kappa import cohen_kappa, percent_agreement, weighted_kappa
from llm_eval.errors import InvalidData
from llm_eval.statistics import wilson

GOLDEN = yaml.safe_load((Path(__file__).parents[1] / "golden" / "agreement.yaml").read_text(encoding="utf-8"))


def raters(table):
    """Each rater's ratings, 0 to k - 1, of items that fall into the table's cells so often."""
    cells = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    return [i for i, _ in cells], [j for _, j in cells]


def agree_as_printed(found, case, digits):
    assert found.value == pytest.approx(case["value"], abs=0.5 * 10**-digits)
    for name, place in (("stderr", found.stderr), ("low", found.ci_low), ("high", found.ci_high)):
        assert name not in case or place == pytest.approx(case[name], abs=0.51e-4)


@pytest.mark.parametrize("case", GOLDEN["kappa"], ids=lambda case: case["source"][:30])
def test_kappa_as_published(case):
    agree_as_printed(cohen_kappa(*raters(case["table"])), case, digits=3)


@pytest.mark.parametrize("case", GOLDEN["weighted_kappa"], ids=lambda case: case["source"][:30] + case["weights"])
def test_weighted_kappa_as_published(case):
    first, second = raters(case["table"])

    agree_as_printed(weighted_kappa(first, second, (0, 1, 2), case["weights"]), case, digits=4)


def test_kappa_of_the_anxiety_data_as_irr_prints_it():
    case = GOLDEN["anxiety"]
    first, second, categories = case["first"], case["second"], case["categories"]

    assert cohen_kappa(first, second).value == pytest.approx(case["unweighted"], abs=1e-8)
    for weights in ("linear", "quadratic"):
        assert weighted_kappa(first, second, categories, weights).value == pytest.approx(case[weights], abs=1e-7)


def test_a_category_that_nobody_used_makes_its_neighbours_further_apart():
    first, second = [1, 2, 3, 1, 2, 3], [1, 3, 3, 2, 2, 3]

    assert weighted_kappa(first, second, (1, 2, 3)).value != weighted_kappa(first, second, (1, 2, 2.5, 3)).value


def test_items_without_both_ratings_are_left_out_and_counted():
    found = percent_agreement(["good", None, "bad", "good", "bad"], ["good", "bad", None, "good", "good"])

    assert found == (*wilson(2, 3), 3, 2, "")


def test_full_agreement_keeps_a_width():
    found = cohen_kappa([1, 2, 3] * 5, [1, 2, 3] * 5)

    # chance agreement is 1 / 3; Wilson's lower bound of 15 out of 15 is 0.7961
    assert found.value == pytest.approx(1)
    assert found.stderr is None
    assert found.ci_low == pytest.approx((wilson(15, 15).ci_low - 1 / 3) / (2 / 3))
    assert found.ci_high == 1


@pytest.mark.parametrize("counts", [(2, 3, 2), (11, 11, 11), (1, 10, 9), (49_999, 1, 0), (3, 7, 10)])
def test_rounding_takes_no_width_from_full_agreement(counts):
    ratings = [label for label, count in enumerate(counts) for _ in range(count)]

    found = cohen_kappa(ratings, ratings)

    assert found.value == pytest.approx(1)
    assert found.stderr is None
    assert found.ci_low < 0.9995 * found.ci_high


def test_one_disagreement_among_many_has_an_error_of_its_own():
    first = [0] * 50_000 + [1] * 50_000

    found = cohen_kappa(first, [1, *first[1:]])

    assert found.stderr == pytest.approx(2e-5, rel=0.01)  # 2 sqrt(p (1 - p) / n) for p = 1e-5 and chance 1 / 2


def test_full_disagreement_keeps_a_width():
    found = cohen_kappa([0, 0, 1, 1], [1, 1, 0, 0])

    assert (found.value, found.ci_low) == (pytest.approx(-1), -1)
    assert found.ci_high == pytest.approx((wilson(0, 4).ci_high - 0.5) / 0.5)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ([1, 1, 1, 1], [1, 1, 1, 1], "the first rater gave every item 1"),
        ([1, 2, 1, 2], [1, 1, 1, 1], "the second rater gave every item 1"),
        ([1, 2, None], [1, 2, 1], "2 items have a rating of both raters"),
        ([], [], "0 items have a rating of both raters"),
    ],
)
def test_where_kappa_says_nothing_it_is_none_and_never_0(first, second, why):
    for found in (cohen_kappa(first, second), weighted_kappa(first, second, (1, 2))):
        assert found[:4] == (None, None, None, None)
        assert why in found.note


def test_percent_agreement_of_nothing_is_none():
    assert percent_agreement([None], [1]) == (None, None, None, None, 0, 1, "no item has a rating of both raters")


def test_bad_ratings_are_named():
    with pytest.raises(InvalidData, match="2 ratings and the other 1"):
        cohen_kappa([1, 2], [1])
    with pytest.raises(InvalidData, match="nan"):
        cohen_kappa([1, 2], [1, float("nan")])
    with pytest.raises(InvalidData, match="the rating 7 is none of the categories"):
        weighted_kappa([1, 2, 3], [1, 2, 7], (1, 2, 3))
    with pytest.raises(InvalidData, match="two or more different categories"):
        weighted_kappa([1, 1], [1, 1], (1, 1))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=60))
@settings(deadline=None, database=None)
def test_kappa_s_interval_holds_it_and_the_raters_may_change_places(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]

    for one, other in (
        (cohen_kappa(first, second), cohen_kappa(second, first)),
        (weighted_kappa(first, second, range(4)), weighted_kappa(second, first, range(4))),
    ):
        assert (one.value is None) == (other.value is None) == bool(one.note)
        if one.value is not None:
            assert -1 - 1e-9 <= one.ci_low <= one.value <= one.ci_high <= 1 + 1e-9
            assert one.ci_low < one.ci_high
            assert one.value == pytest.approx(other.value)
