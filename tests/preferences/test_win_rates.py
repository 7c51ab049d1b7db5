"""Win rates from preferences, by hand and as AlpacaEval counts them."""

from __future__ import annotations

import pytest

from llm_eval.errors import EmptyScores, InvalidData
from llm_eval.preferences.win_rates import discrete_win_rate, win_rate, without_spread
from llm_eval.statistics import Estimate, wilson


def test_win_rate_is_the_mean_preference_with_its_standard_error():
    found = win_rate([0.9, 0.2, 0.5, 0.8])

    # deviations 0.3 -0.4 -0.1 0.2: squares sum to 0.3, over n - 1 and n; t(3) at 97.5 % is 3.182446
    assert found[:2] == pytest.approx((0.6, (0.3 / 3 / 4) ** 0.5))
    assert found[2:] == pytest.approx((0.6 - 3.182446 * 0.1581139, 1.0), abs=1e-6)


def test_wins_and_losses_alone_have_wilson_s_interval():
    assert win_rate([1.0, 1.0, 0.0]) == wilson(2, 3)


def test_discrete_win_rate_counts_a_tie_as_half_and_whatever_is_above_as_a_win():
    # AlpacaEval writes these preferences as 1.51, 1.49, 1.5 and 2.0
    assert discrete_win_rate([0.51, 0.49, 0.5, 1.0]).value == pytest.approx((1 + 0 + 0.5 + 1) / 4)


def test_ties_alone_keep_a_width():
    assert win_rate([0.5] * 10) == Estimate(0.5, 0.0, wilson(5, 10).ci_low, wilson(5, 10).ci_high)
    assert without_spread(0.25, 10) == (wilson(2, 10).ci_low, wilson(3, 10).ci_high)


def test_one_preference_could_have_been_any():
    assert win_rate([0.25]) == Estimate(0.25, None, 0.0, 1.0)


def test_no_preference_and_one_out_of_range_are_errors():
    with pytest.raises(EmptyScores):
        win_rate([])
    with pytest.raises(InvalidData, match=r"1\.5 is not between 0"):
        discrete_win_rate([0.5, 1.5])
    with pytest.raises(InvalidData, match="nan"):
        win_rate([float("nan")])
