"""Tests and intervals for two runs on the same samples: against published examples, scipy, and simulation."""

from __future__ import annotations

import math

import numpy
import pytest
from scipy import optimize, stats

from llm_eval import paired
from llm_eval.errors import EmptyScores
from llm_eval.paired import RightOrWrong, holm, resample


def test_agresti_s_survey_of_approval():
    """Agresti 2002, Categorical Data Analysis, section 10.1.1: 794, 150, 86, 570; difference -0.04, 95% (-0.06, -0.02).

    The exact p value is that of R's exact2x2 and statsmodels' mcnemar(exact=True).
    """
    found = RightOrWrong(pairs=1600, both_right=794, lost=150, gained=86).difference(0.95)

    assert found.value == pytest.approx(-0.04)
    assert (round(found.ci_low, 2), round(found.ci_high, 2)) == (-0.06, -0.02)
    assert found.p_value == pytest.approx(3.716e-05, rel=1e-4)


def test_fagerland_s_airways():
    """Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33, 2850-2875: 1, 1, 7, 12 of 21 children.

    Exact p 0.0703; Tango's interval (-0.517, -0.026), whose upper end is widened here to agree with the exact test.
    """
    found = RightOrWrong(pairs=21, both_right=1, lost=7, gained=1).difference(0.95)

    assert found.p_value == pytest.approx(0.0703125)
    assert (round(found.ci_low, 3), found.ci_high) == (-0.517, 0.0)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (0, 5), (3, 3), (2, 9), (150, 86), (700, 640)])
def test_mcnemar_is_scipy_s_binomial_test_of_the_discordant_pairs(lost, gained):
    found = RightOrWrong(2000, 500, lost, gained).difference(0.95)

    assert found.p_value == pytest.approx(stats.binomtest(lost, lost + gained).pvalue if lost + gained else 1.0)


def test_interval_and_p_value_never_contradict_each_other():
    found = [
        RightOrWrong(150, 40, lost, gained).difference(0.95) for lost in range(0, 50, 3) for gained in range(0, 50, 3)
    ]

    assert [d for d in found if (d.p_value >= 0.05) != (d.ci_low <= 0 <= d.ci_high)] == []


def test_runs_that_agree_everywhere_may_still_differ_elsewhere():
    """Without a discordant pair Tango's interval is ±z² / (n + z²)."""
    z2 = stats.norm.ppf(0.975) ** 2

    found = RightOrWrong(100, 60, 0, 0).difference(0.95)

    assert found == (0.0, pytest.approx(-z2 / (100 + z2)), pytest.approx(z2 / (100 + z2)), 1.0)


@pytest.mark.parametrize(("lost", "gained", "margin"), [(40, 10, 0.02), (12, 7, 0.05), (90, 20, 0.1), (30, 4, 0.01)])
def test_the_score_test_at_a_margin_is_that_of_the_restricted_maximum_likelihood(lost, gained, margin):
    n = 300

    def unlikely(q: float) -> float:
        rest = n - lost - gained
        return -(lost * math.log(q + margin) + gained * math.log(q) + rest * math.log(1 - 2 * q - margin))

    q = optimize.minimize_scalar(unlikely, bounds=(1e-9, (1 - margin) / 2 - 1e-9), options={"xatol": 1e-12}).x
    z = ((lost - gained) / n - margin) / math.sqrt((2 * q + margin - margin**2) / n)
    exact = stats.binomtest(lost, lost + gained, alternative="greater").pvalue

    found = RightOrWrong(n, 100, lost, gained).p_drop(margin, higher_is_better=True)

    assert found == pytest.approx(max(stats.norm.sf(z), exact), rel=1e-4)


def test_a_drop_is_a_rise_where_lower_is_better():
    one, other = RightOrWrong(200, 50, 30, 10), RightOrWrong(200, 50, 10, 30)

    assert one.p_drop(0.02, True) == other.p_drop(0.02, False) < 0.05 < one.p_drop(0.02, False)


def test_an_allowed_drop_may_be_a_share_of_the_first_value():
    runs = RightOrWrong(400, 60, 40, 5)

    assert runs.p_drop(0.1, True, relative=True) == runs.p_drop(0.1 * runs.first, True)


def pairs(first, second):
    return numpy.stack([numpy.asarray(first, float), numpy.asarray(second, float)], axis=1)[:, :, None]


@pytest.mark.parametrize("n", [15, 1000])
def test_the_bootstrap_of_means_is_close_to_the_paired_t_test(n):
    random = numpy.random.default_rng(4)
    first, second = random.normal(0, 1, n), random.normal(0.15, 1, n)
    student = stats.ttest_rel(second, first)

    found = resample([pairs(first, second)], None).difference(0.95)

    low, high = student.confidence_interval()
    assert found.value == pytest.approx(second.mean() - first.mean())
    assert found.ci_low == pytest.approx(low, abs=0.06 * (high - low))
    assert found.ci_high == pytest.approx(high, abs=0.06 * (high - low))
    assert found.p_value == pytest.approx(student.pvalue, rel=0.15, abs=1e-3)


def test_a_mean_over_subsets_counts_each_subset_the_same():
    """Two subsets, of 300 and of 3 samples, that differ by 0 and by 1: the macro difference is 0.5 for certain."""
    strata = [pairs(numpy.ones(300), numpy.ones(300)), pairs(numpy.zeros(3), numpy.ones(3))]

    found = resample(strata, None)

    assert (found.first, found.second) == (0.5, 1.0)
    assert found.difference(0.95)[:3] == (0.5, 0.5, 0.5)


def test_subsets_on_which_both_agree_do_not_pretend_to_certainty():
    """z² / (n + z²) either way in each of the two subsets, put together as intervals of means are."""
    z2 = stats.norm.ppf(0.975) ** 2
    half = math.hypot(z2 / (60 + z2), z2 / (30 + z2)) / 2
    same = [pairs(numpy.ones(60), numpy.ones(60)), pairs(numpy.zeros(30), numpy.zeros(30))]

    assert resample(same, None).difference(0.95) == (0.0, pytest.approx(-half), pytest.approx(half), 1.0)


def test_the_spread_of_small_subsets_is_not_belittled():
    """Variance of a mean over k subsets: the sum of s² / n with the n - 1 variance, over k²."""
    random = numpy.random.default_rng(1)
    strata = [pairs(numpy.zeros(5), random.normal(0, 1, 5)) for _ in range(40)]
    expected = math.sqrt(sum(s[:, 1, 0].var(ddof=1) / 5 for s in strata)) / 40

    assert resample(strata, None).drawn[:, 1].std() == pytest.approx(expected, rel=0.03)


def test_few_kinds_of_pairs_are_drawn_like_many():
    """Right and wrong alone are drawn by kind; a hair's breadth of difference makes every pair a kind of its own."""
    random = numpy.random.default_rng(2)
    first, second = random.integers(0, 2, 200), random.integers(0, 2, 200)
    few = resample([pairs(first, second)], None).difference(0.95)
    many = resample([pairs(first + random.normal(0, 1e-9, 200), second)], None).difference(0.95)

    assert many.ci_low == pytest.approx(few.ci_low, abs=0.005)
    assert many.ci_high == pytest.approx(few.ci_high, abs=0.005)


def test_corpus_metrics_are_computed_from_summed_statistics():
    """A ratio of sums, not a mean of ratios."""
    random = numpy.random.default_rng(3)
    lengths = random.integers(1, 100, 80)
    stratum = numpy.stack([numpy.stack([lengths * 2.0, lengths], 1), numpy.stack([lengths * 2.5, lengths], 1)], 1)

    found = resample([stratum], lambda sums: sums[0] / sums[1]).difference(0.95)

    assert found[:3] == pytest.approx((0.5, 0.5, 0.5))


def test_the_same_rows_and_seed_give_the_same_interval():
    stratum = pairs(numpy.arange(50), numpy.arange(50) ** 1.1)

    assert resample([stratum], None).difference(0.95) == resample([stratum], None).difference(0.95)


@pytest.mark.parametrize("strata", [[], [numpy.zeros((0, 2, 1))]])
def test_nothing_cannot_be_resampled(strata):
    with pytest.raises(EmptyScores):
        resample(strata, None)


def test_holm_s_correction():
    """The worked example of Wikipedia's "Holm-Bonferroni method": at 0.05 the first and the last are rejected."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.8, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def drop(random, pairs: int, discordant: float, by: float) -> RightOrWrong:
    lost, gained, rest = random.multinomial(
        pairs, [(discordant + by) / 2, (discordant - by) / 2, 1 - discordant]
    ).tolist()
    return RightOrWrong(pairs, rest // 2, lost, gained)


@pytest.mark.parametrize(("max_drop", "least", "most"), [(0.0, 0.02, 0.05), (0.01, 0.0, 0.02)])
def test_a_family_without_real_drops_raises_an_alarm_less_often_than_allowed(max_drop, least, most):
    random = numpy.random.default_rng(7)
    sizes = ((300, 0.2), (1000, 0.1), (2000, 0.15))

    alarms = [
        min(holm([drop(random, n, discordant, 0).p_drop(max_drop, True) for n, discordant in sizes])) < 0.05
        for _ in range(4000)
    ]

    assert least <= numpy.mean(alarms) < most


def test_a_drop_as_large_as_allowed_raises_an_alarm_as_often_as_allowed():
    random = numpy.random.default_rng(8)

    alarms = [drop(random, 2000, 0.15, 0.01).p_drop(0.01, True) < 0.05 for _ in range(6000)]

    assert numpy.mean(alarms) == pytest.approx(0.05, abs=0.008)


def test_five_points_lost_on_two_thousand_samples_are_found():
    random = numpy.random.default_rng(9)

    found = [drop(random, 2000, 0.15, 0.05).p_drop(0.01, True) < 0.05 for _ in range(1000)]

    assert numpy.mean(found) > 0.99


def test_resampled_drops_raise_an_alarm_no_oftener_than_allowed(monkeypatch):
    monkeypatch.setattr(paired, "RESAMPLES", 1000)
    random = numpy.random.default_rng(10)

    def alarm(seed: int) -> bool:
        strata = [pairs(*(random.random((2, 12)) < 0.6)) for _ in range(10)]
        return resample(strata, None, seed).p_drop(0.0, True) < 0.05

    assert numpy.mean([alarm(seed) for seed in range(300)]) < 0.075  # 5 % and two standard errors
