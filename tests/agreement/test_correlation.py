"""Correlations against published examples (tests/golden/agreement.yaml), against scipy, and where they say nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from llm_eval.agreement.correlation import kendall, pearson, spearman
from llm_eval.errors import InvalidData
from tests.agreement.test_kappa import raters

GOLDEN = yaml.safe_load((Path(__file__).parents[1] / "golden" / "agreement.yaml").read_text(encoding="utf-8"))
DRAW = random.Random(3)
SCALE = [(DRAW.randint(1, 5), DRAW.randint(1, 5)) for _ in range(80)]
NUMBERS = [(x, 0.6 * x + DRAW.gauss(0, 1)) for x in (DRAW.gauss(0, 1) for _ in range(80))]


def test_spearman_and_its_interval_as_published():
    case = GOLDEN["spearman"]

    found = spearman(case["first"], case["second"])

    assert found[:4] == pytest.approx((case["value"], case["stderr"], case["low"], case["high"]), abs=1e-6)
    assert found[4:] == (15, 0, "")


def test_kendall_and_its_interval_as_published():
    case = GOLDEN["kendall"]

    found = kendall(*raters(case["table"]))

    assert (found.value, found.ci_low, found.ci_high) == pytest.approx(
        (case["value"], case["low"], case["high"]), abs=5e-6
    )


@pytest.mark.parametrize("case", GOLDEN["fisher"]["cases"], ids=str)
def test_pearson_s_interval_as_published(case):
    import numpy

    noise = numpy.random.default_rng(1).normal(size=(GOLDEN["fisher"]["n"], 2))
    x, y = numpy.linalg.qr(noise - noise.mean(axis=0))[0].T  # two series whose correlation is 0

    found = pearson(x.tolist(), (case["r"] * x + (1 - case["r"] ** 2) ** 0.5 * y).tolist())

    assert found.value == pytest.approx(case["r"])
    assert (round(found.ci_low, 2), round(found.ci_high, 2)) == (case["low"], case["high"])


@pytest.mark.parametrize("pairs", [SCALE, NUMBERS], ids=["a scale of five", "numbers"])
def test_correlations_are_those_of_scipy(pairs):
    from scipy import stats

    x, y = [a for a, _ in pairs], [b for _, b in pairs]

    reference = stats.pearsonr(x, y)
    assert pearson(x, y).value == pytest.approx(reference.statistic)
    assert pearson(x, y)[2:4] == pytest.approx(tuple(reference.confidence_interval()))
    assert spearman(x, y).value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert kendall(x, y).value == pytest.approx(stats.kendalltau(x, y).statistic)


@pytest.mark.parametrize("correlation", [pearson, spearman, kendall])
def test_intervals_hold_the_true_value_as_often_as_they_say(correlation):
    draw = random.Random(5)
    held = 0
    for _ in range(300):
        x = [draw.gauss(0, 1) for _ in range(40)]
        found = correlation(x, [draw.gauss(0, 1) for _ in x])
        held += found.ci_low <= 0 <= found.ci_high

    assert 0.91 <= held / 300 <= 0.99


@pytest.mark.parametrize("correlation", [pearson, spearman, kendall])
@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ([3, 3, 3, 3], [1, 2, 3, 4], "the first rater gave every item 3"),
        ([1, 2, 3, 4], [5, 5, 5, 5], "the second rater gave every item 5"),
        ([1, None, 3], [1, 2, 3], "2 items have a rating of both raters"),
    ],
)
def test_where_a_correlation_says_nothing_it_is_none_and_never_0(correlation, first, second, why):
    found = correlation(first, second)

    assert found[:4] == (None, None, None, None)
    assert why in found.note


@pytest.mark.parametrize("correlation", [pearson, spearman, kendall])
def test_a_perfect_correlation_and_three_items_have_a_value_and_no_interval(correlation):
    perfect = correlation([0.1, 0.2, 0.3, 0.7, 0.9], [-0.3, -0.6, -0.9, -2.1, -2.7])
    few = correlation([1, 2, 3], [1, 3, 2])

    assert perfect == (-1, None, None, None, 5, 0, "a perfect correlation says nothing about its own spread")
    assert few.value is not None
    assert few[1:] == (None, None, None, 3, 0, "3 items are too few for an interval")


def test_neither_huge_nor_tiny_numbers_lose_the_correlation():
    assert pearson([1e200, 2e200, 4e200, 3e200], [1e-200, 2e-200, 4e-200, 3e-200]).value == 1


def test_labels_are_refused_by_name():
    with pytest.raises(InvalidData, match="'good' is a label"):
        pearson(["good", "bad", "good"], [1, 2, 3])
