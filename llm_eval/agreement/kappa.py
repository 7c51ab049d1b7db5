"""Agreement on labels: the share of items with the same label, and what is left of it beyond chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from llm_eval.agreement.ratings import FEWEST, Agreement, Rated, Rating, both_rated
from llm_eval.errors import InvalidData
from llm_eval.statistics import Z_95, wilson

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Matrix = NDArray[float64]  # (label of the first rater, label of the second)


def percent_agreement(first: Sequence[Rating | None], second: Sequence[Rating | None]) -> Agreement:
    """Share of items, 0-1, that both gave the same rating; Wilson's interval. Undefined where both rated nothing."""
    rated = both_rated(first, second)
    n = len(rated.first)
    if n == 0:
        return rated.undefined("no item has a rating of both raters")
    return Agreement(*wilson(sum(a == b for a, b in zip(rated.first, rated.second, strict=True)), n), n, rated.left_out)


def cohen_kappa(first: Sequence[Rating | None], second: Sequence[Rating | None]) -> Agreement:
    """Cohen's kappa of unordered labels: 1 is full agreement, 0 as much as two independent raters would have.

    The interval is that of the asymptotic standard error, cut to [-1, 1]. Where that error is 0 (full agreement, and
    full disagreement), it comes from Wilson's interval of the percent agreement, chance agreement held as it is, and
    stderr is None. Undefined for fewer than 3 items, and where a rater gave all items one label: kappa is then 0 or
    0 / 0 whatever the other rater says.
    Sources: Cohen 1960, Educational and Psychological Measurement 20, 37-46; Fleiss, Cohen & Everitt 1969,
    Psychological Bulletin 72, 323-327.
    """
    rated = both_rated(first, second)
    labels = list(dict.fromkeys([*rated.first, *rated.second]))
    return _kappa(rated, labels, lambda distance: 0.0 if distance else 1.0)


def weighted_kappa(
    first: Sequence[Rating | None],
    second: Sequence[Rating | None],
    categories: Sequence[Rating],
    weights: Literal["linear", "quadratic"] = "quadratic",
) -> Agreement:
    """Kappa of ordered categories, where a near miss counts as partial agreement; interval as of `cohen_kappa`.

    categories: all that could be given, in their order, equally far apart: one that nobody used still sets how far
    apart its neighbours are. Agreement is worth 1 - d / (k - 1) (linear) or 1 - (d / (k - 1))² (quadratic) for k
    categories and a distance of d. Raises InvalidData for a rating that is none of them.
    Source: Cohen 1968, Psychological Bulletin 70, 213-220.
    """
    rated = both_rated(first, second)
    if len(categories) < 2 or len(set(categories)) != len(categories):
        raise InvalidData(f"weighted kappa needs two or more different categories in their order, not {categories!r}")
    for rating in (*rated.first, *rated.second):
        if rating not in categories:
            raise InvalidData(f"the rating {rating!r} is none of the categories {list(categories)!r}")
    power, most = (1 if weights == "linear" else 2), len(categories) - 1
    return _kappa(rated, categories, lambda distance: 1 - (distance / most) ** power)


def _kappa(rated: Rated, labels: Sequence[Rating], worth: Callable[[int], float]) -> Agreement:
    """worth: of two labels so many places apart, 1 for the same."""
    import numpy

    n, k = len(rated.first), len(labels)
    if n < FEWEST:
        return rated.undefined(f"{n} items have a rating of both raters; kappa needs {FEWEST}")
    for name, ratings in (("first", rated.first), ("second", rated.second)):
        if len(set(ratings)) == 1:
            return rated.undefined(f"the {name} rater gave every item {ratings[0]!r}: there is nothing to agree on")
    place = {label: i for i, label in enumerate(labels)}
    shares = numpy.zeros((k, k))
    for a, b in zip(rated.first, rated.second, strict=True):
        shares[place[a], place[b]] += 1 / n
    weights = numpy.array([[worth(abs(i - j)) for j in range(k)] for i in range(k)])
    observed = float((weights * shares).sum())
    chance = float(shares.sum(axis=1) @ weights @ shares.sum(axis=0))
    value, error = (observed - chance) / (1 - chance), _standard_error(shares, weights, n)
    alike = sum(a == b for a, b in zip(rated.first, rated.second, strict=True))
    if alike < n and error > 0:
        low, high = max(value - Z_95 * error, -1.0), min(value + Z_95 * error, 1.0)
        return Agreement(value, error, low, high, n, rated.left_out)
    same = wilson(alike, n)
    low, high = ((share - chance) / (1 - chance) for share in (same.ci_low, same.ci_high))
    return Agreement(value, None, max(min(low, value), -1.0), min(max(high, value), 1.0), n, rated.left_out)


def _standard_error(shares: Matrix, weights: Matrix, n: int) -> float:
    """Fleiss, Cohen & Everitt 1969, equation 12; kappa without weights is the case of an identity matrix."""
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    observed, chance = float((weights * shares).sum()), float(rows @ weights @ columns)
    means = (weights @ columns)[:, None] + (rows @ weights)[None, :]
    spread = float((shares * (weights * (1 - chance) - means * (1 - observed)) ** 2).sum())
    spread -= (observed * chance - 2 * chance + observed) ** 2
    # What rounding leaves of nothing; one disagreement of n items leaves some (1 - chance)² / n.
    return math.sqrt(spread / n) / (1 - chance) ** 2 if spread > 1e-14 else 0.0
