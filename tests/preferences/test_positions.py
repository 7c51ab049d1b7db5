"""Position statistics of pairs asked in both orders, counted by hand."""

from __future__ import annotations

from itertools import product

import pytest

from llm_eval.preferences.positions import Positions, Verdicts, conservative_verdict, positions
from llm_eval.statistics import wilson

A_BOTH, B_BOTH, TIES = Verdicts("first", "second"), Verdicts("second", "first"), Verdicts("tie", "tie")
FIRST, SECOND = Verdicts("first", "first"), Verdicts("second", "second")


def test_counts_by_hand():
    pairs = [A_BOTH] * 4 + [B_BOTH] * 2 + [TIES] + [FIRST] * 5 + [SECOND] + [Verdicts("first", "tie")] * 2
    pairs += [Verdicts(None, "first"), Verdicts("tie", None)]

    found = positions(pairs)

    assert found == Positions(
        pairs=15,
        left_out=2,
        consistent=wilson(7, 15),  # a in both, b in both, ties
        same_slot=6,
        same_slot_share=wilson(6, 15),
        first_slot=wilson(4 + 2 + 10 + 2, 12 + 10 + 2 + 2),
        p_value=pytest.approx(2 * (1 + 8) / 2**8),  # 7 pairs lean to the first slot and 1 to the second
    )


def test_the_p_value_is_scipy_s_binomial_test():
    from scipy.stats import binomtest

    for first, second in ((0, 1), (3, 3), (9, 2), (40, 21)):
        found = positions([FIRST] * first + [SECOND] * second + [A_BOTH] * 7)
        assert found.p_value == pytest.approx(binomtest(first, first + second, 0.5).pvalue)


def test_a_judge_without_bias_has_none_however_good_one_side_is():
    found = positions([A_BOTH] * 30)

    assert (found.consistent.value, found.same_slot, found.first_slot.value, found.p_value) == (1.0, 0, 0.5, 1.0)


def test_ties_alone_say_nothing_about_slots():
    found = positions([TIES] * 3)

    assert (found.consistent, found.first_slot, found.p_value) == (wilson(3, 3), None, 1.0)


def test_no_pairs_have_no_shares():
    assert positions([Verdicts(None, None)]) == Positions(0, 1, None, 0, None, None, 1.0)


@pytest.mark.parametrize(
    ("verdicts", "side"),
    [
        (A_BOTH, "a"),
        (B_BOTH, "b"),
        (TIES, "tie"),
        (FIRST, "tie"),
        (SECOND, "tie"),
        (Verdicts("first", "tie"), "tie"),
        (Verdicts("tie", "first"), "tie"),
        (Verdicts("first", None), None),
        (Verdicts(None, "tie"), None),
    ],
)
def test_a_side_wins_only_in_both_orders(verdicts, side):
    assert conservative_verdict(verdicts) == side


def test_every_pair_is_either_consistent_or_leans_or_is_a_tie_by_contradiction():
    slots = ("first", "second", "tie")
    for one, other in product(slots, slots):
        found = positions([Verdicts(one, other)])
        assert found.consistent.value + found.same_slot <= 1
        assert (conservative_verdict(Verdicts(one, other)) != "tie") <= bool(found.consistent.value)
