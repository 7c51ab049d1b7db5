"""Intervals against published ones (tests/golden/intervals.yaml), and what must hold for any numbers."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.errors import EmptyScores
from llm_eval.statistics import Estimate, bootstrap, macro, mean_estimate, wilson

PUBLISHED = yaml.safe_load((Path(__file__).parent / "golden" / "intervals.yaml").read_text(encoding="utf-8"))


def mean_of(sums):
    total, count = sums
    return total / count


@pytest.mark.parametrize("case", PUBLISHED["wilson"]["cases"], ids=str)
def test_wilson_as_published(case):
    found = wilson(case["successes"], case["n"])

    assert (round(found.ci_low, 4), round(found.ci_high, 4)) == (case["low"], case["high"])


def test_wilson_s_standard_error_is_that_of_a_mean_with_the_n_minus_1_variance():
    assert wilson(3, 4).stderr == pytest.approx(math.sqrt(0.25 / 4))  # values 1 1 1 0: variance 0.25
    assert wilson(1, 1).stderr is None


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None, database=None)
def test_wilson_holds_the_share_lies_in_0_to_1_and_has_width(case):
    found = wilson(*case)

    assert 0 <= found.ci_low <= found.value <= found.ci_high <= 1
    assert found.ci_high - found.ci_low > 0
    assert wilson(case[1] - case[0], case[1]).ci_low == pytest.approx(1 - found.ci_high)


def test_mean_estimate_is_student_s_interval():
    found = mean_estimate([1, 2, 3, 4, 5])

    # t(4) at 97.5 % is 2.776445; s is sqrt(2.5)
    assert found == pytest.approx((3.0, 0.707107, 3 - 1.963243, 3 + 1.963243), abs=1e-5)


def test_an_interval_of_means_is_cut_to_the_possible_range():
    assert mean_estimate([0.0, 0.9, 1.0], (0.0, 1.0))[2:] == (0.0, 1.0)


def test_one_value_could_have_been_any_possible_one():
    assert mean_estimate([0.25], (0.0, 1.0)) == Estimate(0.25, None, 0.0, 1.0)
    assert mean_estimate([7.5]) == Estimate(7.5, None, 7.5, 7.5)


def test_bootstrap_of_a_mean_agrees_with_the_formula():
    draw = random.Random(1)
    values = [draw.gauss(10, 2) for _ in range(400)]

    found, exact = bootstrap([(v, 1.0) for v in values], mean_of), mean_estimate(values)

    assert found.value == pytest.approx(exact.value)
    assert found.stderr == pytest.approx(exact.stderr, rel=0.1)
    assert found[2:] == pytest.approx(exact[2:], abs=0.06)


def test_bootstrap_depends_on_its_seed_and_on_nothing_else():
    rows = [(float(i % 7), 1.0) for i in range(50)]

    assert bootstrap(rows, mean_of, seed=3) == bootstrap(rows, mean_of, seed=3)
    assert bootstrap(rows, mean_of, seed=3) != bootstrap(rows, mean_of, seed=4)


def test_bootstrap_draws_whole_samples():
    def both_columns_move_together(sums):
        assert sums[1] == 2 * sums[0]
        return sums[0]

    bootstrap([(1.0, 2.0), (3.0, 6.0), (5.0, 10.0)], both_columns_move_together, resamples=50)


def test_bootstrap_of_one_sample_knows_no_error():
    assert bootstrap([(3.0, 2.0)], mean_of) == Estimate(1.5, None, 1.5, 1.5)


def test_bootstrap_gives_the_same_when_it_must_draw_in_several_pieces(monkeypatch):
    rows = [(float(i), 1.0) for i in range(40)]
    monkeypatch.setattr("llm_eval.statistics._RESAMPLED_AT_ONCE", 40 * 64)

    assert bootstrap(rows, mean_of).stderr == pytest.approx(mean_estimate([r[0] for r in rows]).stderr, rel=0.1)


@pytest.mark.parametrize("case", PUBLISHED["mover"]["cases"], ids=str)
def test_macro_s_interval_as_published(case):
    (hits, n), (others, m) = case["first"], case["second"]

    found = macro([wilson(hits, n), wilson(m - others, m)])

    assert 2 * found.value - 1 == pytest.approx(hits / n - others / m)
    assert (round(2 * found.ci_low - 1, 4), round(2 * found.ci_high - 1, 4)) == (case["low"], case["high"])


def test_macro_s_standard_error_is_the_root_of_the_summed_squares_over_k():
    estimates = [Estimate(0.2, 0.03, 0.1, 0.3), Estimate(0.6, 0.04, 0.5, 0.7)]

    assert macro(estimates)[:2] == pytest.approx((0.4, 0.025))
    assert macro([*estimates, Estimate(1.0, None, 0.2, 1.0)]).stderr is None


@given(st.integers(1, 400), st.integers(1, 60))
@settings(deadline=None, database=None)
def test_macro_of_equal_estimates_keeps_the_value_and_narrows_by_the_root_of_k(n, k):
    one = wilson(n // 3, n)

    found = macro([one] * k)

    assert found.value == pytest.approx(one.value)
    assert found.ci_high - found.value == pytest.approx((one.ci_high - one.value) / math.sqrt(k))
    assert found.value - found.ci_low == pytest.approx((one.value - one.ci_low) / math.sqrt(k))


def test_macro_of_subsets_at_100_percent_keeps_a_width():
    found = macro([wilson(10, 10)] * 4)

    assert found.ci_low < 0.9 < found.value == found.ci_high == 1.0


@pytest.mark.parametrize(
    "nothing",
    [lambda: wilson(0, 0), lambda: mean_estimate([]), lambda: bootstrap([], mean_of), lambda: macro([])],
    ids=["wilson", "mean", "bootstrap", "macro"],
)
def test_a_mean_of_nothing_is_an_error_and_never_0(nothing):
    with pytest.raises(EmptyScores):
        nothing()
