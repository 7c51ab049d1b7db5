"""Agreement on numbers: Pearson's r, Spearman's rho and Kendall's tau-b, each with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llm_eval.agreement.ratings import FEWEST, Agreement, Rated, Rating, both_rated
from llm_eval.errors import InvalidData
from llm_eval.statistics import Z_95

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Numbers = NDArray[float64]  # (item,)

_PERFECT = 1 - 1e-12


def pearson(first: Sequence[Rating | None], second: Sequence[Rating | None]) -> Agreement:
    """Product-moment correlation; Fisher's z interval, z ± 1.96 / sqrt(n - 3), n > 3; stderr by the delta method.

    Undefined for fewer than 3 items and where a rater gave all items one number. No interval at exactly 1 and -1,
    whose own spread nothing is known of, nor for 3 items. Raises InvalidData for labels. Source: Fisher 1921.
    """
    rated = both_rated(first, second)
    x, y = _numbers(rated.first), _numbers(rated.second)
    n = len(x)
    return _undefined(rated) or _with_interval(_product_moment(x, y), rated, 1 / (n - 3) if n > 3 else None)


def spearman(first: Sequence[Rating | None], second: Sequence[Rating | None]) -> Agreement:
    """Pearson's r of the ranks, ties sharing their mean rank; variance of z (1 + rho² / 2) / (n - 3), n > 3.

    Undefined, and without an interval, where `pearson` is.
    Source of the interval: Bonett & Wright 2000, Psychometrika 65, 23-28.
    """
    rated = both_rated(first, second)
    x, y = _numbers(rated.first), _numbers(rated.second)
    if undefined := _undefined(rated):
        return undefined
    rho, n = _product_moment(_ranks(x), _ranks(y)), len(x)
    return _with_interval(rho, rated, (1 + rho**2 / 2) / (n - 3) if n > 3 else None)


def kendall(first: Sequence[Rating | None], second: Sequence[Rating | None]) -> Agreement:
    """Kendall's tau-b; tau ± 1.96 asymptotic standard errors, which allow for ties, cut to [-1, 1], n > 4.

    Undefined where `pearson` is, without an interval at 1 and -1 and for fewer than 5 items. Takes time by n².
    Sources: Kendall 1945, Biometrika 33, 239-251; Brown & Benedetti 1977, Journal of the American Statistical
    Association 72, 309-315, the interval of SAS's PROC FREQ.
    """
    rated = both_rated(first, second)
    x, y = _numbers(rated.first), _numbers(rated.second)
    if undefined := _undefined(rated):
        return undefined
    tau, error = _tau_b(x, y)
    if note := _no_interval(tau, len(x) > 4, len(x)):
        return Agreement(tau, None, None, None, len(x), rated.left_out, note)
    low, high = max(tau - Z_95 * error, -1.0), min(tau + Z_95 * error, 1.0)
    return Agreement(tau, error, low, high, len(x), rated.left_out)


def _numbers(ratings: Sequence[Rating]) -> Numbers:
    import numpy

    for rating in ratings:
        if isinstance(rating, str):
            raise InvalidData(f"the rating {rating!r} is a label: correlations are of numbers, kappa is of labels")
    return numpy.asarray(ratings, dtype=numpy.float64)


def _undefined(rated: Rated) -> Agreement | None:
    if len(rated.first) < FEWEST:
        return rated.undefined(f"{len(rated.first)} items have a rating of both raters; a correlation needs {FEWEST}")
    for name, ratings in (("first", rated.first), ("second", rated.second)):
        if len(set(ratings)) == 1:
            return rated.undefined(f"the {name} rater gave every item {ratings[0]!r}: nothing varies with the other's")
    return None


def _with_interval(r: float, rated: Rated, variance_of_z: float | None) -> Agreement:
    n = len(rated.first)
    if variance_of_z is None or abs(r) == 1:
        return Agreement(r, None, None, None, n, rated.left_out, _no_interval(r, variance_of_z is not None, n))
    error = math.sqrt(variance_of_z)
    low, high = (math.tanh(math.atanh(r) + side * Z_95 * error) for side in (-1, 1))
    return Agreement(r, error * (1 - r**2), low, high, n, rated.left_out)


def _no_interval(value: float, has_enough: bool, n: int) -> str:
    if not has_enough:
        return f"{n} items are too few for an interval"
    return "a perfect correlation says nothing about its own spread" if abs(value) == 1 else ""


def _product_moment(x: Numbers, y: Numbers) -> float:
    import numpy

    x, y = x - x.mean(), y - y.mean()
    x, y = x / numpy.abs(x).max(), y / numpy.abs(y).max()  # so that no square overflows or vanishes
    return _of_one_at_most(float(x @ y) / math.sqrt(float(x @ x) * float(y @ y)))


def _ranks(values: Numbers) -> Numbers:
    import numpy

    _, kinds, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    last = numpy.cumsum(counts)
    ranks: Numbers = (last - (counts - 1) / 2)[kinds]
    return ranks


def _tau_b(x: Numbers, y: Numbers) -> tuple[float, float]:
    """Tau-b and its asymptotic standard error, in the terms of PROC FREQ with a cell for each item."""
    import numpy

    n = len(x)
    agreeing, same_x, same_y = numpy.zeros(n), numpy.zeros(n), numpy.zeros(n)  # of each item with all others
    for i in range(n):
        a, b = numpy.sign(x - x[i]), numpy.sign(y - y[i])
        agreeing[i], same_x[i], same_y[i] = a @ b, n - a @ a, n - b @ b
    untied_x, untied_y = float((n - same_x).sum()), float((n - same_y).sum())
    pairs = math.sqrt(untied_x * untied_y)
    tau = _of_one_at_most(float(agreeing.sum()) / pairs)
    each = 2 * pairs * agreeing + tau * (same_x * untied_y + same_y * untied_x)
    spread = float((each**2).sum()) - n**3 * tau**2 * (untied_x + untied_y) ** 2
    return tau, math.sqrt(max(spread, 0.0)) / pairs**2


def _of_one_at_most(correlation: float) -> float:
    """Rounding leaves a perfect correlation just below or above 1."""
    return math.copysign(1.0, correlation) if abs(correlation) >= _PERFECT else correlation
