"""Battles: which of two players answered a question better, and by how much it counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llm_eval.errors import EmptyScores, InvalidData

# Score of the answer shown as A and weight. Source: lmarena/arena-hard-auto, show_result.py, v0.1 and v2.0 alike: a
# battle won by far is entered three times, and a tie is half a win for both.
ARENA_HARD_GRADES = {"A>>B": (1.0, 3.0), "A>B": (1.0, 1.0), "A=B": (0.5, 1.0), "B>A": (0.0, 1.0), "B>>A": (0.0, 3.0)}


@dataclass(frozen=True, slots=True)
class Battle:
    """score: the player's share of the win, the opponent has the rest: 1 won, 0.5 tie, 0 lost. weight: above 0."""

    question: str
    player: str
    opponent: str
    score: float
    weight: float = 1.0


def arena_hard_battle(question: str, shown_as_a: str, shown_as_b: str, grade: str) -> Battle:
    """The battle that one of Arena-Hard's five grades stands for. Raises InvalidData for another grade."""
    if grade not in ARENA_HARD_GRADES:
        raise InvalidData(f"question {question!r}: {grade!r} is not one of the grades {', '.join(ARENA_HARD_GRADES)}")
    return Battle(question, shown_as_a, shown_as_b, *ARENA_HARD_GRADES[grade])


def validate(battles: Sequence[Battle]) -> None:
    """Raises EmptyScores for no battles; InvalidData for a score outside of 0-1, a weight of 0, one player twice."""
    if not battles:
        raise EmptyScores("there is nothing to rate: there are no battles")
    for battle in battles:
        if not 0 <= battle.score <= 1 or not (0 < battle.weight < math.inf) or battle.player == battle.opponent:
            raise InvalidData(
                f"a battle is of two players, with a score of 0 to 1 and a weight above 0, not {battle!r}"
            )
