"""The length-controlled win rate of AlpacaEval 2: what a model would win if its answers were as long as the baseline's.

A logistic regression takes the preferences apart into how good the model is, how much longer its answers are and how
hard the instruction is; the win rate is its mean prediction with the length set to nothing. Fractions, not percent.

The official code has three such models, by name. `length_controlled_v1`, that of the leaderboard, needs two files that
come with it: each instruction's difficulty, fitted once over all models of the leaderboard (instruction_difficulty.csv)
and two rewritten baselines whose comparisons keep the regression from blaming everything on length (df_gamed.csv).
`length_controlled_noreg` does without the second and `length_controlled_minimal` without both: which of them it is
follows from what is given. Only v1, with AlpacaEval's instructions, baseline and annotator, is comparable with the
leaderboard; the difficulty's author found that leaving it out lowers the correlation with Chatbot Arena slightly
(tatsu-lab/alpaca_eval, issue 316).

Sources: Dubois et al. 2024, arXiv 2404.04475; tatsu-lab/alpaca_eval, metrics/glm_winrate.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from llm_eval.errors import EmptyScores, InvalidData
from llm_eval.preferences.logistic import Penalty, fit, logistic
from llm_eval.preferences.win_rates import win_rate, without_spread
from llm_eval.statistics import Estimate

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Vector = NDArray[float64]
    Matrix = NDArray[float64]

Variant = Literal["length_controlled_v1", "length_controlled_noreg", "length_controlled_minimal"]

_GAMED_WEIGHT = 0.2 / 2  # of each comparison of the two rewritten baselines
_FOLDS = 5
_INVERSE_PENALTIES = tuple(10 ** (-4 + 8 * i / 9) for i in range(10))  # scikit-learn's ten
_WITHOUT_FOLDS = 100.0  # the official C where nothing is cross-validated, here for fewer comparisons than folds


@dataclass(frozen=True, slots=True)
class Comparison:
    """One instruction: the preference, 0-1, for the model's answer; both answers' lengths in characters.

    difficulty: AlpacaEval's for this instruction; None where there is none, and then for all instructions.
    """

    preference: float
    length: int
    baseline_length: int
    difficulty: float | None = None


class GamedComparison(NamedTuple):
    """A row of df_gamed.csv: a baseline rewritten to be longer or shorter, against the baseline itself.

    preference: 0-1, that of the rewritten answer. length_difference: as in the file, baseline less rewritten, already
    divided by its standard deviation.
    """

    preference: float
    length_difference: float
    difficulty: float


class LengthControlled(NamedTuple):
    """`model`, `length` and `difficulty` are the regression's coefficients; 1 / `inverse_penalty` weighs their size.

    length: below 0 where longer answers are preferred, since a difference is the baseline's length less the model's,
    as in the official weights. None where all differences are the same, so that nothing can be told about length, and
    nothing is controlled. difficulty: None without difficulties.
    """

    win_rate: Estimate
    variant: Variant
    model: float
    length: float | None
    difficulty: float | None
    inverse_penalty: float


class _Rows(NamedTuple):
    features: Matrix  # (row, feature): 1 for the model, then tanh of the length difference and difficulty, if any
    preferences: Vector
    weights: Vector


def length_controlled_win_rate(
    comparisons: Sequence[Comparison], gamed: Sequence[GamedComparison] = (), resamples: int = 1000, seed: int = 0
) -> LengthControlled:
    """The length-controlled win rate, 0-1, with a percentile bootstrap over instructions.

    The fit is the official one: an L1 penalty whose strength, of ten from 10,000 to 0.0001, has the least
    cross-validated loss in five folds. Row i is in fold i mod 5 (scikit-learn's GroupKFold leaves open which fold a row
    of equally large groups goes to), so that the order of the rows matters in the last digits. Among few comparisons
    close to a tie the strongest penalty may win, and the value is then 0.5 whatever was preferred.
    Draws are fitted with the weakest of the ten, for a penalty draws to 0.5 and would make the interval too narrow; the
    value is always in it. stderr is the draws' standard deviation: the official `lc_standard_error` is that of the
    predictions, which is 0 without difficulties. Where all preferences are the same the interval is
    `without_spread`'s, and stderr is None for one instruction.
    Raises EmptyScores for no comparisons; InvalidData for a preference outside of 0-1, a negative length, and
    difficulties that are only here and there or missing with `gamed`.
    """
    import numpy

    variant = _variant(comparisons, gamed)
    rows, has_length = _rows(comparisons, gamed)
    inverse_penalty = _cross_validated(rows) if len(rows.preferences) >= _FOLDS else _WITHOUT_FOLDS
    n = len(comparisons)
    found = fit(*rows, Penalty("l1", 1 / inverse_penalty))
    value = _prediction(found, rows.features[-n:], has_length)

    preferences = rows.preferences[-n:]
    if n == 1 or (preferences == preferences[0]).all():
        low, high = without_spread(float(preferences[0]), n)
        estimate = Estimate(value, None if n == 1 else 0.0, min(low, value), max(high, value))
    else:
        random, again = numpy.random.default_rng(seed), []
        for _ in range(resamples):
            drawn = [comparisons[i] for i in random.integers(0, n, n)]
            drawn_rows, length_too = _rows(drawn, gamed)
            coefficients = fit(*drawn_rows, Penalty("l1", 1 / _INVERSE_PENALTIES[-1]))
            again.append(_prediction(coefficients, drawn_rows.features[-n:], length_too))
        low, high = (float(q) for q in numpy.quantile(again, [0.025, 0.975]))
        estimate = Estimate(value, float(numpy.std(again, ddof=1)), min(low, value), max(high, value))
    length = float(found[1]) if has_length else None
    difficulty = None if comparisons[0].difficulty is None else float(found[-1])
    return LengthControlled(estimate, variant, float(found[0]), length, difficulty, inverse_penalty)


def _variant(comparisons: Sequence[Comparison], gamed: Sequence[GamedComparison]) -> Variant:
    """Raises what `length_controlled_win_rate` does."""
    if not comparisons:
        raise EmptyScores("there is no length-controlled win rate of no comparisons")
    win_rate([c.preference for c in comparisons] + [g.preference for g in gamed])
    for comparison in comparisons:
        if min(comparison.length, comparison.baseline_length) < 0:
            raise InvalidData(f"an answer cannot have fewer than no characters: {comparison!r}")
    known = sum(comparison.difficulty is not None for comparison in comparisons)
    if known not in (0, len(comparisons)) or (gamed and not known):
        raise InvalidData(
            f"{known} of {len(comparisons)} comparisons have a difficulty: give it for all of them, or, without "
            "rewritten baselines, for none"
        )
    if gamed:
        return "length_controlled_v1"
    return "length_controlled_noreg" if known else "length_controlled_minimal"


def _rows(comparisons: Sequence[Comparison], gamed: Sequence[GamedComparison]) -> tuple[_Rows, bool]:
    """The regression's rows, those of the rewritten baselines first, and whether lengths are among the features."""
    import numpy

    differences = numpy.array([c.baseline_length - c.length for c in comparisons], dtype=numpy.float64)
    has_length = len(comparisons) > 1 and bool((differences != differences[0]).any())
    columns = [numpy.array([0.0] * len(gamed) + [1.0] * len(comparisons))]
    if has_length:
        gamed_differences = numpy.array([g.length_difference for g in gamed], dtype=numpy.float64)
        standardised = numpy.concatenate([gamed_differences, differences / differences.std(ddof=1)])
        columns.append(numpy.tanh(standardised))
    difficulties = [g.difficulty for g in gamed] + [c.difficulty for c in comparisons]
    if comparisons[0].difficulty is not None:
        columns.append(numpy.array(difficulties, dtype=numpy.float64))
    preferences = numpy.array([g.preference for g in gamed] + [c.preference for c in comparisons], dtype=numpy.float64)
    weights = numpy.array([_GAMED_WEIGHT] * len(gamed) + [1.0] * len(comparisons))
    return _Rows(numpy.column_stack(columns), preferences, weights), has_length


def _cross_validated(rows: _Rows) -> float:
    """The inverse penalty, scikit-learn's C, whose fits lose least on the folds that they have not seen."""
    import numpy

    folds = numpy.arange(len(rows.preferences)) % _FOLDS
    losses = numpy.zeros(len(_INVERSE_PENALTIES))
    for fold in range(_FOLDS):
        seen, unseen = folds != fold, folds == fold
        found = None
        for i, inverse_penalty in enumerate(_INVERSE_PENALTIES):
            found = fit(
                rows.features[seen],
                rows.preferences[seen],
                rows.weights[seen],
                Penalty("l1", 1 / inverse_penalty),
                found,
            )
            log_odds = rows.features[unseen] @ found
            loss = numpy.logaddexp(0, log_odds) - rows.preferences[unseen] * log_odds
            losses[i] += float((rows.weights[unseen] * loss).mean())
    return _INVERSE_PENALTIES[int(losses.argmin())]


def _prediction(coefficients: Vector, features: Matrix, has_length: bool) -> float:
    """Mean over the model's rows of the predicted preference, had there been no difference in length."""
    at_equal_length = features.copy()
    if has_length:
        at_equal_length[:, 1] = 0.0
    return float(logistic(at_equal_length @ coefficients).mean())
