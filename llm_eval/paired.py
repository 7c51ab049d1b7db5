"""Two runs on the same samples: how far apart they are, and whether chance alone could have done that.

Both kinds of evidence answer the same questions: `difference` (second minus first, with its interval and two-sided p
value) and `p_drop` (how likely so great a drop is where the real one is no greater than what is allowed).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from llm_eval.errors import EmptyScores

if TYPE_CHECKING:
    from numpy import bool_, float64
    from numpy.typing import NDArray

    Pairs = NDArray[float64]  # (sample, 2, statistic): what each of the two runs has for each sample

RESAMPLES = 10_000  # the least p value is 2 / 10,001, small enough for Holm's correction over a hundred datasets
_DRAWN_AT_ONCE = 2_000_000  # drawn samples held in memory
_FEW_KINDS = 16  # of pairs, so that drawing how often each comes is quicker than drawing samples
_HALVINGS = 60


class Difference(NamedTuple):
    """Second minus first. The interval holds 0 exactly where the p value is at least 1 - confidence."""

    value: float
    ci_low: float
    ci_high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class RightOrWrong:
    """Pairs of values that are 0 or 1: `lost` are right in the first run alone, `gained` in the second alone."""

    pairs: int
    both_right: int
    lost: int
    gained: int

    @property
    def first(self) -> float:
        return (self.both_right + self.lost) / self.pairs

    @property
    def second(self) -> float:
        return (self.both_right + self.gained) / self.pairs

    def difference(self, confidence: float) -> Difference:
        """McNemar's test in its exact form, whatever the number of discordant pairs; Tango's score interval.

        The interval is never of zero width, also where no pair is discordant. Where the exact test, the more careful of
        the two, finds no difference, the interval is widened to hold 0.
        Sources: McNemar 1947; Tango 1998, Statistics in Medicine 17, 891-908.
        """
        p_value = min(1.0, 2 * self._exact(max(self.lost, self.gained)))
        low, high = self._score_interval(confidence)
        if p_value >= 1 - confidence:
            low, high = min(low, 0.0), max(high, 0.0)
        return Difference((self.gained - self.lost) / self.pairs, low, high, p_value)

    def p_drop(self, allowed: float, higher_is_better: bool, relative: bool = False) -> float:
        """One-sided p value of "the second run is worse by no more than `allowed`".

        relative: `allowed` is a share of the first run's value. The greater of two: Tango's score test at that margin,
        and the exact test without one, since the first alone is too bold where few pairs are discordant.
        """
        from scipy.special import ndtr

        margin = allowed * self.first if relative else allowed
        worse, better = (self.lost, self.gained) if higher_is_better else (self.gained, self.lost)
        return max(float(ndtr(-_score(worse, better, self.pairs, margin))), self._exact(worse))

    def _exact(self, at_least: int) -> float:
        """Probability that a fair coin shows one side so often or oftener, thrown once per discordant pair."""
        from scipy.special import bdtrc

        return float(bdtrc(at_least - 1, self.lost + self.gained, 0.5)) if at_least else 1.0

    def _score_interval(self, confidence: float) -> tuple[float, float]:
        from scipy.special import ndtri

        z = float(ndtri((1 + confidence) / 2))
        value = (self.gained - self.lost) / self.pairs
        return self._bound(value, -1.0, z), self._bound(value, 1.0, -z)

    def _bound(self, inside: float, outside: float, wanted: float) -> float:
        """The margin between the two at which the score is `wanted`; it falls as the margin grows."""
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            if abs(_score(self.gained, self.lost, self.pairs, middle)) < abs(wanted):
                inside = middle
            else:
                outside = middle
        return inside


def _score(more: int, fewer: int, pairs: int, margin: float) -> float:
    """Tango's z of "the share `more` exceeds the share `fewer` by `margin`", 0 where there is nothing to tell from."""
    a, b = 2 * pairs, (2 * pairs - more + fewer) * margin - more - fewer
    c = -fewer * margin * (1 - margin)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)  # likeliest share `fewer` under that margin
    variance = pairs * (2 * share + margin * (1 - margin))
    distance = more - fewer - pairs * margin
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance) if distance else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Values of both runs, and what they would have been on other draws of the same samples.

    drawn: (draw, 2). degrees: of freedom, samples less strata. agreed: sizes of the strata where both runs are right or
    wrong on the same samples throughout, of which no draw can differ; else empty.
    """

    first: float
    second: float
    drawn: NDArray[float64]
    degrees: int
    agreed: tuple[int, ...] = ()

    def difference(self, confidence: float) -> Difference:
        """Percentile interval and p value of the paired bootstrap, each as wide as Student's t makes it.

        Where both agree throughout, Tango's intervals of the strata, put together as `statistics.macro` does.
        Sources: Efron 1979; Koehn 2004 for BLEU; Hesterberg 2015, The American Statistician 69, 371-386 (expanded
        percentiles).
        """
        import numpy
        from scipy.special import ndtr, ndtri, stdtrit

        if self.agreed:
            z2 = float(ndtri((1 + confidence) / 2)) ** 2
            half = math.hypot(*(z2 / (n + z2) for n in self.agreed)) / len(self.agreed)
            return Difference(0.0, -half, half, 1.0)
        value, drawn = self.second - self.first, self.drawn[:, 1] - self.drawn[:, 0]
        tail = float(ndtr(stdtrit(self.degrees, (1 - confidence) / 2)))
        low, high = (float(q) for q in numpy.quantile(drawn, [tail, 1 - tail]))
        p_value = min(1.0, 2 * min(self._p(drawn <= 0), self._p(drawn >= 0)))
        low, high = min(low, value), max(high, value)
        if p_value >= 1 - confidence:  # the two count draws of exactly 0 differently
            low, high = min(low, 0.0), max(high, 0.0)
        return Difference(value, low, high, p_value)

    def p_drop(self, allowed: float, higher_is_better: bool, relative: bool = False) -> float:
        """One-sided p value of "the second run is worse by no more than `allowed`".

        relative: `allowed` is a share of the first run's value.
        """
        drawn = self.drawn[:, 0] - self.drawn[:, 1]
        margins = allowed * abs(self.drawn[:, 0]) if relative else allowed
        return self._p((drawn if higher_is_better else -drawn) <= margins)

    def _p(self, against: NDArray[bool_]) -> float:
        """The share of draws that speak against a difference, as a p value."""
        from scipy.special import ndtri, stdtr

        share = (1 + int(against.sum())) / (1 + len(against))
        return float(stdtr(self.degrees, ndtri(share)))


def resample(
    strata: Sequence[Pairs],
    corpus: Callable[[Sequence[float]], float] | None,
    seed: int = 0,
    weights: Sequence[float] | None = None,
) -> Resampled:
    """The mean over strata of each run's value, and RESAMPLES draws of it, pairs kept together.

    weights: of the strata in that mean, of any sum; None: all the same.
    corpus: a stratum's value from its summed statistics; None where it is the mean of the one statistic. Each stratum
    is drawn from for itself, n - 1 of its n samples with replacement, which makes the spread of a mean s / sqrt(n) in
    small strata too. The same rows in the same order and the same seed give the same draws. Raises EmptyScores for no
    rows.
    Source: Rao & Wu 1988, Journal of the American Statistical Association 83, 231-241.
    """
    import numpy

    if not strata or not all(len(stratum) for stratum in strata):
        raise EmptyScores("there is nothing to compare: no sample has a score in both runs")
    random = numpy.random.default_rng(seed)
    value, drawn = numpy.zeros(2), numpy.zeros((RESAMPLES, 2))
    shares = numpy.asarray([1.0] * len(strata) if weights is None else weights, dtype=numpy.float64)
    shares /= shares.sum()
    for share, stratum in zip(shares, strata, strict=True):
        n, _, width = stratum.shape
        value += share * _values(stratum.sum(axis=0)[None], n, corpus)[0]
        kinds, counts = numpy.unique(stratum.reshape(n, 2 * width), axis=0, return_counts=True)
        size, place = max(n - 1, 1), 0
        while place < RESAMPLES:
            rows = min(RESAMPLES - place, max(1, _DRAWN_AT_ONCE // n))
            if len(kinds) <= _FEW_KINDS:
                times = random.multinomial(size, counts / n, rows)
                sums = times @ kinds
            else:
                picked = random.integers(0, n, (rows, size)) + n * numpy.arange(rows)[:, None]
                times = numpy.bincount(picked.ravel(), minlength=rows * n).reshape(rows, n)
                sums = times.astype(numpy.float64) @ stratum.reshape(n, 2 * width)
            drawn[place : place + rows] += share * _values(sums.reshape(rows, 2, width), size, corpus)
            place += rows
    first, second = value.tolist()
    degrees = max(1, sum(len(stratum) for stratum in strata) - len(strata))
    is_same = corpus is None and all((s[:, 0] == s[:, 1]).all() and numpy.isin(s, (0.0, 1.0)).all() for s in strata)
    agreed = tuple(len(stratum) for stratum in strata) if is_same else ()
    return Resampled(first, second, drawn, degrees, agreed)


def _values(sums: Pairs, size: int, corpus: Callable[[Sequence[float]], float] | None) -> NDArray[float64]:
    """(draw, 2): each run's value from its summed statistics (draw, 2, statistic)."""
    if corpus is None:
        means: NDArray[float64] = sums[:, :, 0] / size
        return means
    import numpy

    return numpy.array([[corpus(of_run) for of_run in draw] for draw in sums.tolist()])


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for being several, in the order given.

    Whoever calls those below 0.05 differences calls any that is none a difference with a chance of at most 5 %, however
    many there are. Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = accumulate(((len(order) - rank) * p_values[i] for rank, i in enumerate(order)), max)
    found = {i: min(1.0, p) for i, p in zip(order, corrected, strict=True)}
    return [found[i] for i in range(len(order))]
