"""Logistic regression of shares: a few coefficients, no intercept, found the same way on every machine."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Vector = NDArray[float64]
    Matrix = NDArray[float64]

_STEPS = 200  # Newton's, of which a handful are usual
_HALVINGS = 40
_ENOUGH = 1e-10  # a step that promises less, relative to the loss, is the last: it squares what error is left


class Penalty(NamedTuple):
    """What is added to the summed loss: strength * sum of |w| for l1, strength / 2 * sum of w² for l2.

    scikit-learn's and liblinear's C is 1 / strength.
    """

    kind: Literal["l1", "l2"]
    strength: float

    def of(self, coefficients: Vector) -> float:
        if self.kind == "l1":
            return self.strength * float(abs(coefficients).sum())
        return self.strength / 2 * float(coefficients @ coefficients)


NO_PENALTY = Penalty("l2", 0.0)


def logistic(log_odds: Vector) -> Vector:
    """1 / (1 + exp(-x)), without overflow."""
    import numpy

    probabilities: Vector = numpy.exp(-numpy.logaddexp(0, -log_odds))
    return probabilities


def fit(features: Matrix, shares: Vector, weights: Vector, penalty: Penalty, start: Vector | None = None) -> Vector:
    """Coefficients (feature,) that make the weighted cross entropy of `shares` and its penalty least.

    Shapes: features (row, feature); shares (row,), 0-1, of the row's weight that is a success; weights (row,), >= 0.
    The caller sees to it that there is a least: without a penalty, no separable rows and no redundant features.
    Newton's method, each step with the penalty in it (Lee, Sun & Saunders 2014) and halved until the loss falls.
    """
    import numpy

    found = numpy.zeros(features.shape[1]) if start is None else start.copy()
    loss = _loss(features, shares, weights, found) + penalty.of(found)
    for _ in range(_STEPS):
        expected = logistic(features @ found)
        slope = features.T @ (weights * (expected - shares))
        curvature = (features * (weights * expected * (1 - expected))[:, None]).T @ features
        target = _of_quadratic(slope, curvature, found, penalty)
        step = target - found
        promised = -float(slope @ step) - penalty.of(target) + penalty.of(found)
        if promised <= _ENOUGH * max(1.0, loss):
            return target
        size = 1.0
        for _ in range(_HALVINGS):
            trial = found + size * step
            lower = _loss(features, shares, weights, trial) + penalty.of(trial)
            if lower <= loss - 1e-4 * size * promised:
                break
            size /= 2
        else:
            break
        found, loss = trial, lower
    return found


def _loss(features: Matrix, shares: Vector, weights: Vector, coefficients: Vector) -> float:
    import numpy

    log_odds = features @ coefficients
    return float(weights @ (numpy.logaddexp(0, log_odds) - shares * log_odds))


def _of_quadratic(slope: Vector, curvature: Matrix, at: Vector, penalty: Penalty) -> Vector:
    """Where the penalised parabola that touches the loss at `at` is least."""
    import numpy

    if penalty.kind == "l2":
        ridge = penalty.strength * numpy.eye(len(at))
        step = numpy.linalg.lstsq(curvature + ridge, -(slope + penalty.strength * at), rcond=None)[0]
        return numpy.asarray(at + step, dtype=numpy.float64)
    return _of_lasso(slope - curvature @ at, curvature, penalty.strength)


def _of_lasso(slope: Vector, curvature: Matrix, strength: float) -> Vector:
    """Where the parabola with this slope at 0, and `strength` times the sum of sizes, is least.

    Every pattern of signs is tried: with a handful of features that is quicker than descending along coordinates, which
    crawls where features nearly agree, as the length differences of few or one-sided comparisons do.
    """
    import numpy

    best, least = numpy.zeros(len(slope)), 0.0
    for signs in itertools.product((-1.0, 0.0, 1.0), repeat=len(slope)):
        side = numpy.asarray(signs)
        active = side != 0
        if not active.any():
            continue
        pull = -(slope + strength * side)[active]
        found = numpy.zeros(len(slope))
        found[active] = numpy.linalg.lstsq(curvature[numpy.ix_(active, active)], pull, rcond=None)[0]
        if (found * side < 0).any():
            continue
        value = float(slope @ found + found @ curvature @ found / 2 + strength * abs(found).sum())
        if value < least:
            best, least = found, value
    return best
