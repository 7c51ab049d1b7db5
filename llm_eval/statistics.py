"""Estimates with their uncertainty: a value, its standard error, and a 95 % confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from llm_eval.errors import EmptyScores

Z_95 = 1.959963984540054  # the standard normal's 97.5 % quantile
_RESAMPLED_AT_ONCE = 2_000_000  # drawn samples held in memory


class Estimate(NamedTuple):
    """`stderr` is None where it cannot be known (one sample); the interval always holds the value."""

    value: float
    stderr: float | None
    ci_low: float
    ci_high: float


def wilson(successes: int, n: int) -> Estimate:
    """Share of successes, with the score interval; stderr is s / sqrt(n) with the n - 1 variance, None for n = 1.

    The interval is never of zero width and never leaves [0, 1], also at 0 % and 100 %. Raises EmptyScores for n = 0.
    Source: Wilson 1927; method 3 of Newcombe 1998, Statistics in Medicine 17, 857-872.
    """
    _refuse_nothing(n)
    share = successes / n
    stderr = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else None
    middle = (successes + Z_95**2 / 2) / (n + Z_95**2)
    half = Z_95 / (n + Z_95**2) * math.sqrt(n * share * (1 - share) + Z_95**2 / 4)
    # Rounding must not push a bound past the value it holds, nor past 0 and 1.
    low = 0.0 if successes == 0 else min(max(middle - half, 0.0), share)
    high = 1.0 if successes == n else max(min(middle + half, 1.0), share)
    return Estimate(share, stderr, low, high)


def mean_estimate(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean with Student's t interval and stderr s / sqrt(n), n - 1 variance. Raises EmptyScores for no values.

    `bounds` are the least and greatest value possible: the interval is cut to them. One value alone says nothing about
    spread: stderr is None and the interval is `bounds`, or, where there are none, the value itself.
    """
    n = len(values)
    _refuse_nothing(n)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, *(bounds or (mean, mean)))
    stderr = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = _t_quantile(n - 1) * stderr
    low, high = bounds or (-math.inf, math.inf)
    return Estimate(mean, stderr, min(max(mean - half, low), mean), max(min(mean + half, high), mean))


@cache
def _t_quantile(degrees_of_freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 0.975))


def bootstrap(
    statistics: Sequence[Sequence[float]],
    corpus: Callable[[Sequence[float]], float],
    seed: int = 0,
    resamples: int = 1000,
) -> Estimate:
    """`corpus` of the summed statistics, with a percentile interval over samples drawn again with replacement.

    statistics: one row per sample, whose sums over samples are sufficient for `corpus`. The same rows in the same order
    and the same seed give the same estimate. One sample alone: stderr is None and the interval the value itself.
    Raises EmptyScores for no rows. Source: Efron 1979; Koehn 2004 for BLEU.
    """
    n = len(statistics)
    _refuse_nothing(n)
    import numpy

    table = numpy.asarray(statistics, dtype=numpy.float64)
    value = corpus(table.sum(axis=0).tolist())
    if n == 1:
        return Estimate(value, None, value, value)
    random = numpy.random.default_rng(seed)
    again: list[float] = []
    while len(again) < resamples:
        rows = min(resamples - len(again), max(1, _RESAMPLED_AT_ONCE // n))
        drawn = random.integers(0, n, (rows, n)) + n * numpy.arange(rows)[:, None]
        times = numpy.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        again += [corpus(sums) for sums in (times.astype(numpy.float64) @ table).tolist()]
    low, high = numpy.quantile(again, [0.025, 0.975])
    return Estimate(value, float(numpy.std(again, ddof=1)), min(float(low), value), max(float(high), value))


def macro(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of the subsets' means, each counting the same; stderr is sqrt(sum of squares) / k, None if one is unknown.

    The interval is put together from the subsets' own limits (MOVER), so subsets at 0 % or 100 % keep their width.
    Raises EmptyScores for no estimates. Source: Zou & Donner 2008, Statistics in Medicine 27, 1693-1702.
    """
    k = len(estimates)
    _refuse_nothing(k)
    value = math.fsum(e.value for e in estimates) / k
    errors = [e.stderr for e in estimates if e.stderr is not None]
    return Estimate(
        value,
        math.hypot(*errors) / k if len(errors) == k else None,
        value - math.hypot(*(e.value - e.ci_low for e in estimates)) / k,
        value + math.hypot(*(e.ci_high - e.value for e in estimates)) / k,
    )


def _refuse_nothing(count: int) -> None:
    if count == 0:
        raise EmptyScores("there is nothing to average: no sample has a score")
