"""Win rates with the style of the answers taken out: their length and markdown, as Arena-Hard v0.1's style control.

Beside the players' strengths, the regression has a coefficient for each feature of style, of its difference between
the two answers. Source: lmarena/arena-hard-auto, utils_math.py (construct_style_matrices, fit_bt) and
utils/add_markdown_info.py, after lmsys.org/blog/2024-08-28-style-control. v2.0 of Arena-Hard measures style by other
differences (densities of markdown) and fits without a penalty: its numbers differ.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from llm_eval.errors import InvalidData, UnknownName
from llm_eval.preferences.battles import Battle, validate
from llm_eval.preferences.bradley_terry import ANCHOR_RATING, SCALE, percentile_estimate, share_of
from llm_eval.preferences.logistic import Penalty, fit
from llm_eval.statistics import Estimate

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Matrix = NDArray[float64]

_CODE = re.compile(r"```[^`]*```")
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
# Not \s*, as in the official patterns, which count the same and take quadratic time on many blank lines.
_LIST = re.compile(r"^[^\S\n]*(?:\d+\.|[-*+])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")

_PENALTY = Penalty("l2", 1.0)  # scikit-learn's default
_COPIES = 2.0  # each battle is entered twice, which lets a tie be one win for each


class Style(NamedTuple):
    """length: in tokens or characters, the same for all answers; headers, list items and bold spans are counts."""

    length: int
    headers: int
    lists: int
    bold: int


def style_of(text: str, tokens: int | None = None) -> Style:
    """Features of an answer in markdown, what stands in fenced code left out of the counts.

    tokens: the length in tokens, where it is known (the official one counts with gpt-4o's tokenizer); else length is in
    characters. Differences are relative, so that the two mostly agree.
    """
    prose = _CODE.sub("``````", text)
    length = len(text) if tokens is None else tokens
    return Style(length, len(_HEADER.findall(prose)), len(_LIST.findall(prose)), len(_BOLD.findall(prose)))


class StyleControlled(NamedTuple):
    """win_rates: over the anchor, of all other players. ratings: of all, the anchor's is 1000.

    coefficients: natural log odds for a standard deviation more of a feature; above 0 where more of it is preferred. A
    feature that never differs has none.
    """

    win_rates: dict[str, Estimate]
    ratings: dict[str, float]
    coefficients: dict[str, float]


def style_controlled_win_rates(
    anchor: str,
    battles: Sequence[Battle],
    styles: Mapping[tuple[str, str], Style],
    *,
    centred: bool,
    resamples: int = 1000,
    seed: int = 0,
) -> StyleControlled:
    """Win rates over the anchor, 0-1, for answers alike in style, with a percentile bootstrap over questions.

    styles: by question and player. centred: True takes away the mean difference of style, as the official code does: a
    win rate is then for answers that differ as they do on average. That is made for many players; with one player and
    the anchor it puts the average advantage of style back into the win rate, and False, no difference, is wanted.
    Differences are (a - b) / (a + b + 1), divided by their standard deviation, found once and not in each draw. The
    penalty, half the sum of squared coefficients, is the official one: it keeps ratings finite where one player wins
    everything and draws all win rates a little to 0.5, the less the more battles there are.
    Raises what `battles.validate` does, UnknownName for an anchor without battles, InvalidData for an answer without
    style.
    """
    import numpy

    validate(battles)
    players = sorted({name for battle in battles for name in (battle.player, battle.opponent)})
    if anchor not in players:
        raise UnknownName("player", anchor, players)
    won = _won(anchor, battles)
    style, names = _standardised(won, styles, centred)
    place = {player: i for i, player in enumerate(players)}
    features = numpy.zeros((len(won), len(players)))
    for row, (_, first, second) in enumerate(won):
        features[row, place[first]], features[row, place[second]] = math.log(10), -math.log(10)
    features = numpy.column_stack([features, style])
    wins = numpy.array(list(won.values()))
    shares, weights = wins[:, 0] / wins.sum(axis=1), _COPIES * wins.sum(axis=1)

    questions = {question: i for i, question in enumerate(dict.fromkeys(question for question, _, _ in won))}
    of_row = numpy.array([questions[question] for question, _, _ in won])
    found = fit(features, shares, weights, _PENALTY)
    random, again = numpy.random.default_rng(seed), []
    for _ in range(resamples):
        times = numpy.bincount(random.integers(0, len(questions), len(questions)), minlength=len(questions))
        again.append(fit(features, shares, weights * times[of_row], _PENALTY, found))

    a = place[anchor]
    ratings = {player: ANCHOR_RATING + SCALE * float(found[i] - found[a]) for player, i in place.items()}
    win_rates = {
        player: percentile_estimate(
            share_of(math.log(10) * float(found[i] - found[a])),
            [share_of(math.log(10) * float(draw[i] - draw[a])) for draw in again],
            len({question for question, *pair in won if player in pair}),
        )
        for player, i in place.items()
        if player != anchor
    }
    return StyleControlled(win_rates, ratings, dict(zip(names, found[len(players) :].tolist(), strict=True)))


def _won(anchor: str, battles: Sequence[Battle]) -> dict[tuple[str, str, str], list[float]]:
    """Weight won by the first and by the second, of each question and pair; the anchor first, as in the official code.

    Which one is first matters to a mean difference of style alone; where neither is the anchor, names are in order.
    """
    won: dict[tuple[str, str, str], list[float]] = {}
    for battle in battles:
        first, second = sorted((battle.player, battle.opponent), key=lambda name: (name != anchor, name))
        cell = won.setdefault((battle.question, first, second), [0.0, 0.0])
        cell[int(battle.player == second)] += battle.weight * battle.score
        cell[int(battle.player == first)] += battle.weight * (1 - battle.score)
    return won


def _standardised(
    won: Mapping[tuple[str, str, str], Sequence[float]], styles: Mapping[tuple[str, str], Style], centred: bool
) -> tuple[Matrix, list[str]]:
    """Columns of style differences, first less second, and their names; columns that never differ are left out."""
    import numpy

    for question, first, second in won:
        for player in (first, second):
            if (question, player) not in styles:
                raise InvalidData(f"there is no style of the answer to question {question!r} by {player!r}")
    one = numpy.array([styles[question, first] for question, first, _ in won], dtype=numpy.float64)
    other = numpy.array([styles[question, second] for question, _, second in won], dtype=numpy.float64)
    differences = (one - other) / (one + other + 1)
    weights = numpy.array([sum(wins) for wins in won.values()])
    mean = numpy.average(differences, axis=0, weights=weights)
    spread = numpy.sqrt(numpy.average((differences - mean) ** 2, axis=0, weights=weights))
    differing = spread > 1e-12
    style = ((differences - mean if centred else differences) / numpy.where(differing, spread, 1.0))[:, differing]
    return style, [name for name, differs in zip(Style._fields, differing.tolist(), strict=True) if differs]
