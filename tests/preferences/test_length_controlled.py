"""The length-controlled win rate against the official regression's numbers (tests/golden/length_controlled.yaml)."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llm_eval.errors import EmptyScores, InvalidData
from llm_eval.preferences.length_controlled import Comparison, GamedComparison, length_controlled_win_rate
from llm_eval.preferences.win_rates import win_rate
from llm_eval.statistics import wilson

GOLDEN = yaml.safe_load((Path(__file__).parents[1] / "golden" / "length_controlled.yaml").read_text(encoding="utf-8"))
VARIANTS = ("length_controlled_minimal", "length_controlled_noreg", "length_controlled_v1")


def made(count, model, length, seed=1):
    """Comparisons whose preferences are exactly those of a regression with these coefficients."""
    draw = random.Random(seed)
    lengths = [(draw.randint(100, 2000), draw.randint(100, 2000)) for _ in range(count)]
    differences = [baseline - own for own, baseline in lengths]
    mean = sum(differences) / count
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / (count - 1))
    preferences = [1 / (1 + math.exp(-model - length * math.tanh(d / spread))) for d in differences]
    return [Comparison(p, own, baseline) for p, (own, baseline) in zip(preferences, lengths, strict=True)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_as_the_official_regression_has_it(case, variant):
    comparisons = [Comparison(*row) for row in case["comparisons"]]
    if variant == "length_controlled_minimal":
        comparisons = [replace(comparison, difficulty=None) for comparison in comparisons]
    gamed = [GamedComparison(*row) for row in case["gamed"]] if variant == "length_controlled_v1" else []

    found = length_controlled_win_rate(comparisons, gamed, resamples=20)

    official = case["found"][variant]
    assert found.variant == variant
    assert found.win_rate.value == pytest.approx(official["win_rate"], abs=1e-7)
    assert found.inverse_penalty == pytest.approx(official["inverse_penalty"])
    coefficients = [c for c in (found.model, found.length, found.difficulty) if c is not None]
    assert coefficients == pytest.approx(official["coefficients"], abs=1e-5)


def test_a_known_regression_is_found_again():
    found = length_controlled_win_rate(made(400, model=0.4, length=-1.5), resamples=20)

    assert (found.model, found.length) == pytest.approx((0.4, -1.5), abs=0.001)
    assert found.win_rate.value == pytest.approx(1 / (1 + math.exp(-0.4)), abs=0.0003)


def test_without_an_effect_of_length_it_is_the_win_rate():
    comparisons = made(400, model=-0.8, length=0.0)

    found = length_controlled_win_rate(comparisons, resamples=20)

    assert found.win_rate.value == pytest.approx(win_rate([c.preference for c in comparisons]).value, abs=0.0003)


@pytest.mark.parametrize("difference", [0, 250])
def test_lengths_that_always_differ_alike_cannot_be_controlled_and_it_is_the_win_rate(difference):
    comparisons = [Comparison(p / 10, 500 + difference, 500) for p in (1, 8, 9, 8, 7, 6, 7, 9) * 10]

    found = length_controlled_win_rate(comparisons, resamples=50)

    assert found.length is None
    assert found.win_rate.value == pytest.approx(win_rate([c.preference for c in comparisons]).value, abs=0.01)


def test_seen_from_the_baseline_it_is_the_rest():
    case = GOLDEN["cases"][0]
    comparisons = [Comparison(*row) for row in case["comparisons"]]
    turned = [Comparison(1 - c.preference, c.baseline_length, c.length, c.difficulty) for c in comparisons]

    one, other = (length_controlled_win_rate(rows, resamples=50) for rows in (comparisons, turned))

    assert other.win_rate.value == pytest.approx(1 - one.win_rate.value, abs=1e-9)
    assert other.win_rate.ci_low == pytest.approx(1 - one.win_rate.ci_high, abs=1e-6)
    assert other.length == pytest.approx(one.length, abs=1e-6)


def test_a_penalty_that_leaves_nothing_of_a_few_undecided_preferences_does_not_pretend_to_certainty():
    draw = random.Random(8)
    comparisons = [Comparison(draw.random(), draw.randint(100, 900), draw.randint(100, 900)) for _ in range(30)]

    found = length_controlled_win_rate(comparisons, resamples=200)

    assert (found.win_rate.value, found.inverse_penalty) == (0.5, 1e-4)  # as the official regression would
    assert found.win_rate.stderr == pytest.approx(math.sqrt(1 / 12 / 30), rel=0.3)
    assert found.win_rate.ci_low < 0.45
    assert found.win_rate.ci_high > 0.55


def test_a_longer_answer_that_is_preferred_for_its_length_loses_that_advantage():
    draw = random.Random(4)
    comparisons = []
    for _ in range(300):
        baseline, extra = draw.randint(400, 900), draw.randint(-300, 900)
        comparisons.append(Comparison(1 / (1 + math.exp(-extra / 300)), baseline + extra, baseline))

    found = length_controlled_win_rate(comparisons, resamples=20)

    assert found.length < 0
    assert win_rate([c.preference for c in comparisons]).value > 0.65 > found.win_rate.value


def test_the_interval_is_as_wide_as_the_preferences_spread_and_depends_on_the_seed_alone():
    draw = random.Random(6)
    comparisons = [
        Comparison(float(draw.random() < 0.6), draw.randint(100, 900), draw.randint(100, 900)) for _ in range(200)
    ]

    found = length_controlled_win_rate(comparisons, resamples=300, seed=1)

    # lengths are noise here, so the spread is that of a share of 200
    assert found.win_rate.stderr == pytest.approx(math.sqrt(0.24 / 200), rel=0.15)
    assert found.win_rate.ci_low < found.win_rate.value < found.win_rate.ci_high
    assert found == length_controlled_win_rate(comparisons, resamples=300, seed=1)
    assert found != length_controlled_win_rate(comparisons, resamples=300, seed=2)


@pytest.mark.parametrize("preference", [0.0, 1.0])
def test_a_model_that_always_wins_or_always_loses_has_a_finite_fit_and_a_width(preference):
    comparisons = [Comparison(preference, 100 + 7 * i, 400 - 3 * i) for i in range(40)]

    found = length_controlled_win_rate(comparisons)

    assert found.win_rate.value == pytest.approx(preference, abs=1e-3)
    expected = wilson(40 * int(preference), 40)
    outer = min if preference else max
    assert outer(found.win_rate[2:]) == pytest.approx(outer(expected[2:]))


def test_one_comparison_could_have_been_any():
    found = length_controlled_win_rate([Comparison(1.0, 10, 20)])

    assert found.win_rate.stderr is None
    assert found.win_rate[2:] == (wilson(1, 1).ci_low, 1.0)


def test_bad_input_is_named():
    row = Comparison(0.5, 10, 20, 0.1)
    with pytest.raises(EmptyScores):
        length_controlled_win_rate([])
    with pytest.raises(InvalidData, match="1 of 2 comparisons have a difficulty"):
        length_controlled_win_rate([row, replace(row, difficulty=None)])
    with pytest.raises(InvalidData, match="0 of 1 comparisons have a difficulty"):
        length_controlled_win_rate([replace(row, difficulty=None)], [GamedComparison(0.4, 1.0, 0.1)])
    with pytest.raises(InvalidData, match="fewer than no characters"):
        length_controlled_win_rate([replace(row, length=-1)])
    with pytest.raises(InvalidData, match="is not between 0"):
        length_controlled_win_rate([replace(row, preference=2.0)])
