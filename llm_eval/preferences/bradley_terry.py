"""Ratings and win rates from battles, by the model of Bradley and Terry, as Arena-Hard v0.1 computes them.

The odds that one player beats another are the ratio of their strengths, which are those that make the battles
likeliest, without a penalty. Sources: Bradley & Terry 1952, Biometrika 39, 324-345; lmarena/arena-hard-auto v0.1,
utils_math.py, compute_mle_elo and predict_win_rate: base 10, scale 400, the anchor at 1000.

Likeliest strengths are finite only among players of whom each has beaten each other, if through others (Ford 1957,
American Mathematical Monthly 64, 28-33); ties count as beating. Such players are a group here. A player above another
group, having beaten it and never the reverse, has a win rate of exactly 1 over it and no finite rating beside it; where
neither has beaten the other there is no win rate.

With two players the win rate is the weighted share of wins, which is also how Arena-Hard v2.0 scores a model against
its baseline where style is not controlled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from llm_eval.errors import UnknownName
from llm_eval.preferences.battles import Battle, validate
from llm_eval.preferences.logistic import NO_PENALTY, fit
from llm_eval.preferences.win_rates import without_spread
from llm_eval.statistics import Estimate

if TYPE_CHECKING:
    from numpy import bool_, float64
    from numpy.typing import NDArray

    Wins = NDArray[float64]  # (pair, 2): weight won by the first and by the second of the pair
    Beaten = NDArray[bool_]  # (player, player)

SCALE = 400.0  # points of rating for odds of 10 to 1
ANCHOR_RATING = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class BradleyTerry:
    """Strengths of players, by group. log_odds: natural, of each player against the first of its group.

    has_beaten: whether there is a chain of wins and ties from the row's player to the column's; True of oneself.
    """

    players: tuple[str, ...]
    log_odds: tuple[float, ...]
    has_beaten: Beaten

    def win_rate(self, player: str, opponent: str) -> float | None:
        """Predicted share of wins, 0-1; exactly 1 and 0 between groups; None where neither has beaten the other."""
        i, j = self._place(player), self._place(opponent)
        above, below = bool(self.has_beaten[i, j]), bool(self.has_beaten[j, i])
        if above and below:
            return share_of(self.log_odds[i] - self.log_odds[j])
        return 1.0 if above else 0.0 if below else None

    def ratings(self, anchor: str) -> dict[str, float | None]:
        """Ratings with the anchor's at 1000; None for players outside of its group, whose ratings are not finite."""
        a = self._place(anchor)
        points = SCALE / math.log(10)
        return {
            player: ANCHOR_RATING + points * (self.log_odds[i] - self.log_odds[a])
            if self.has_beaten[i, a] and self.has_beaten[a, i]
            else None
            for i, player in enumerate(self.players)
        }

    def _place(self, player: str) -> int:
        if player not in self.players:
            raise UnknownName("player", player, self.players)
        return self.players.index(player)


def bradley_terry(battles: Sequence[Battle]) -> BradleyTerry:
    """The likeliest strengths, of all players in the order of their names. Raises what `battles.validate` does."""
    table = _table(battles)
    return _strengths(table.players, table.pairs, table.wins.sum(axis=0))


def win_rates_against(
    anchor: str, battles: Sequence[Battle], resamples: int = 1000, seed: int = 0
) -> dict[str, Estimate | None]:
    """Each other player's predicted win rate over the anchor, 0-1, with a percentile bootstrap over questions.

    All battles about a question are drawn together: the two games of a pair, in both orders, and the copies of a game
    won by far are about the same two answers, so that drawing battles, as the official code does, takes them for more
    than they are and makes the interval too narrow. A draw that cannot compare a player with the anchor counts for the
    others only. Where no draw moves a win rate, as one of exactly 1 or 0, its interval is `without_spread`'s over the
    player's questions, and stderr is None for one question. None for a player that cannot be compared.
    Raises what `battles.validate` does, and UnknownName for an anchor without battles.
    """
    import numpy

    table = _table(battles)
    questions = len(table.wins)
    found = _strengths(table.players, table.pairs, table.wins.sum(axis=0))
    random = numpy.random.default_rng(seed)
    drawn: dict[str, list[float]] = {
        player: [] for player in table.players if found.win_rate(player, anchor) is not None
    }
    for _ in range(resamples):
        times = numpy.bincount(random.integers(0, questions, questions), minlength=questions)
        again = _strengths(table.players, table.pairs, numpy.tensordot(times.astype(numpy.float64), table.wins, 1))
        for player, rates in drawn.items():
            if (rate := again.win_rate(player, anchor)) is not None:
                rates.append(rate)
    estimates: dict[str, Estimate | None] = {}
    for player in table.players:
        if player != anchor:
            value = found.win_rate(player, anchor)
            own = len({b.question for b in battles if player in (b.player, b.opponent)})
            estimates[player] = None if value is None else percentile_estimate(value, drawn[player], own)
    return estimates


def share_of(log_odds: float) -> float:
    """1 / (1 + exp(-x)), without overflow where a long chain of players lies between two."""
    smaller = math.exp(-abs(log_odds))
    return (1.0 if log_odds >= 0 else smaller) / (1 + smaller)


def percentile_estimate(value: float, drawn: Sequence[float], questions: int) -> Estimate:
    """A win rate with its interval from draws of questions, or `without_spread`'s where no draw moves it."""
    import numpy

    if not drawn or max(drawn) - min(drawn) <= 1e-12:
        low, high = without_spread(value, questions)
        return Estimate(value, 0.0 if questions > 1 else None, min(low, value), max(high, value))
    low, high = (float(q) for q in numpy.quantile(drawn, [0.025, 0.975]))
    return Estimate(value, float(numpy.std(drawn, ddof=1)), min(low, value), max(high, value))


class _Table(NamedTuple):
    players: tuple[str, ...]
    pairs: list[tuple[int, int]]
    wins: NDArray[float64]  # (question, pair, 2)


def _table(battles: Sequence[Battle]) -> _Table:
    import numpy

    validate(battles)
    players = tuple(sorted({name for battle in battles for name in (battle.player, battle.opponent)}))
    place = {player: i for i, player in enumerate(players)}
    pairs = sorted({_pair(battle, place) for battle in battles})
    questions = {question: i for i, question in enumerate(dict.fromkeys(battle.question for battle in battles))}
    column = {pair: i for i, pair in enumerate(pairs)}
    wins = numpy.zeros((len(questions), len(pairs), 2))
    for battle in battles:
        pair = _pair(battle, place)
        is_second = int(place[battle.player] == pair[1])
        cell = wins[questions[battle.question], column[pair]]
        cell[is_second] += battle.weight * battle.score
        cell[1 - is_second] += battle.weight * (1 - battle.score)
    return _Table(players, pairs, wins)


def _pair(battle: Battle, place: dict[str, int]) -> tuple[int, int]:
    i, j = place[battle.player], place[battle.opponent]
    return (i, j) if i < j else (j, i)


def _strengths(players: tuple[str, ...], pairs: Sequence[tuple[int, int]], wins: Wins) -> BradleyTerry:
    import numpy

    has_beaten = numpy.eye(len(players), dtype=numpy.bool_)
    for (i, j), (by_first, by_second) in zip(pairs, wins, strict=True):
        has_beaten[i, j] |= by_first > 0
        has_beaten[j, i] |= by_second > 0
    for _ in range(len(players).bit_length()):  # each round doubles the length of the chains
        has_beaten = (has_beaten.astype(numpy.float32) @ has_beaten.astype(numpy.float32)) > 0
    grouped = has_beaten & has_beaten.T
    log_odds = [0.0] * len(players)
    for first in range(len(players)):
        members = numpy.flatnonzero(grouped[first]).tolist()
        if members[0] == first and len(members) > 1:
            column = {player: i for i, player in enumerate(members)}
            rows = [p for p, (i, j) in enumerate(pairs) if i in column and j in column and wins[p].sum() > 0]
            features = numpy.zeros((len(rows), len(members)))
            for row, p in enumerate(rows):
                features[row, column[pairs[p][0]]], features[row, column[pairs[p][1]]] = 1.0, -1.0
            weights = wins[rows].sum(axis=1)
            found = fit(features[:, 1:], wins[rows, 0] / weights, weights, NO_PENALTY)
            for player, value in zip(members[1:], found.tolist(), strict=True):
                log_odds[player] = value
    return BradleyTerry(players, tuple(log_odds), has_beaten)
