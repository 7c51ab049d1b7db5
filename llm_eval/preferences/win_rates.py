"""Win rates as AlpacaEval has them, from how far each answer is preferred to the baseline's.

A preference is a number from 0 (the baseline's answer is better) to 1 (the model's is); 0.5 is a tie. AlpacaEval
writes it as 1 to 2. Win rates are fractions here, as all shares are; AlpacaEval's tables show them times 100.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llm_eval.errors import InvalidData
from llm_eval.statistics import Estimate, mean_estimate, wilson


def win_rate(preferences: Sequence[float]) -> Estimate:
    """Mean preference, 0-1; stderr s / sqrt(n) with the n - 1 variance, as AlpacaEval's `standard_error`.

    The interval is Wilson's where all preferences are 0 or 1, else Student's t cut to [0, 1], and `without_spread`'s
    where all are the same. Raises EmptyScores for none, InvalidData for one outside of 0-1.
    Source: tatsu-lab/alpaca_eval, metrics/helpers.py, describe_head2head.
    """
    for preference in preferences:
        if not 0 <= preference <= 1:
            raise InvalidData(f"the preference {preference!r} is not between 0 (baseline) and 1 (model)")
    if preferences and all(preference in (0, 1) for preference in preferences):
        return wilson(sum(preference == 1 for preference in preferences), len(preferences))
    found = mean_estimate(preferences, (0.0, 1.0))
    if found.stderr == 0:
        return Estimate(found.value, 0.0, *without_spread(found.value, len(preferences)))
    return found


def discrete_win_rate(preferences: Sequence[float]) -> Estimate:
    """`win_rate` of 1 for a preference above 0.5, 0.5 for exactly 0.5, 0 for one below.

    Source: tatsu-lab/alpaca_eval, metrics/winrate.py, discrete_win_rate.
    """
    win_rate(preferences)
    return win_rate([1.0 if preference > 0.5 else 0.5 if preference == 0.5 else 0.0 for preference in preferences])


def without_spread(value: float, n: int) -> tuple[float, float]:
    """Interval of a share of `n` independent questions that were all answered alike, so that no resampling moves it.

    Wilson's, of the nearest whole numbers of wins on both sides.
    """
    wins = round(value * n, 9)  # a fitted share may miss a whole number by its last digits
    return wilson(math.floor(wins), n).ci_low, wilson(math.ceil(wins), n).ci_high
