"""Two raters' ratings of the same items, and what a statistic of them says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from llm_eval.errors import InvalidData

Rating = str | int | float
FEWEST = 3  # items; below, kappa and correlations can only take a handful of values and say nothing


class Agreement(NamedTuple):
    """A statistic with its 95 % interval, of `n` items that both have rated; `left_out` lack one rating or both.

    Where `value` is None, it cannot be defined, and `note` says why. Where only stderr and interval are None, the
    value says nothing about its own spread, and `note` says why. Else `note` is empty.
    """

    value: float | None
    stderr: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    left_out: int
    note: str = ""


class Rated(NamedTuple):
    """Both raters' ratings of the items that both have rated, in their order."""

    first: list[Rating]
    second: list[Rating]
    left_out: int

    def undefined(self, why: str) -> Agreement:
        return Agreement(None, None, None, None, len(self.first), self.left_out, why)


def both_rated(first: Sequence[Rating | None], second: Sequence[Rating | None]) -> Rated:
    """The items that have two ratings. Raises InvalidData for series of unequal length and for ratings not finite."""
    if len(first) != len(second):
        raise InvalidData(
            f"one rater has {len(first)} ratings and the other {len(second)}: give both the same items in the same "
            "order, None where an item has no rating"
        )
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    for rating in (rating for pair in pairs for rating in pair):
        if isinstance(rating, float) and not math.isfinite(rating):
            raise InvalidData(f"a rating is {rating!r}: ratings are finite numbers or labels, None where there is none")
    return Rated([a for a, _ in pairs], [b for _, b in pairs], len(first) - len(pairs))
