"""What the place of an answer in the prompt does to a judge: pairs asked in both orders.

A verdict names the slot that the judge preferred. The two answers of a pair are `a`, which stands first in the first
order and second in the other, and `b`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from llm_eval.statistics import Estimate, wilson

Slot = Literal["first", "second", "tie"]
Side = Literal["a", "b", "tie"]


class Verdicts(NamedTuple):
    """Slots named with `a` first, and with `b` first; None where the judge's verdict is missing or cannot be read."""

    a_first: Slot | None
    b_first: Slot | None


class Positions(NamedTuple):
    """Of `pairs` with two verdicts; `left_out` lack one or both. Shares are 0-1, with Wilson's interval.

    consistent: same side, or a tie, in both orders. same_slot: how many pairs had the same slot named in both orders,
    ties apart, as OpenCompass counts position bias; same_slot_share: of all pairs. All shares are None for no pairs.
    first_slot: share of the first slot in all verdicts that are no tie, 0.5 without bias; None where all are ties. Its
    interval is a wide one, since a consistent pair names each slot once for certain.
    p_value: two-sided and exact, of so many pairs leaning to one slot, were neither preferred; a pair leans where one
    slot is named more often than the other. It counts pairs, which are independent, and not verdicts, which are not. 1
    where no pair leans.
    Sources: Zheng et al. 2023, arXiv 2306.05685, section 3.3 (consistency); open-compass/opencompass,
    summarizers/subjective/compass_arena.py, check_position_bias.
    """

    pairs: int
    left_out: int
    consistent: Estimate | None
    same_slot: int
    same_slot_share: Estimate | None
    first_slot: Estimate | None
    p_value: float


def positions(pairs: Sequence[Verdicts]) -> Positions:
    """How the order of the answers moves the verdicts. No pairs give None for all shares."""
    whole = [(pair.a_first, pair.b_first) for pair in pairs if pair.a_first is not None and pair.b_first is not None]
    n = len(whole)
    same = sum(one == other != "tie" for one, other in whole)
    named = [slot for pair in whole for slot in pair if slot != "tie"]
    leaning = [pair.count("first") - pair.count("second") for pair in whole]
    to_first, to_second = sum(lean > 0 for lean in leaning), sum(lean < 0 for lean in leaning)
    return Positions(
        pairs=n,
        left_out=len(pairs) - n,
        consistent=wilson(sum(_side(one, "a") == _side(other, "b") for one, other in whole), n) if n else None,
        same_slot=same,
        same_slot_share=wilson(same, n) if n else None,
        first_slot=wilson(named.count("first"), len(named)) if named else None,
        p_value=_two_sided(to_first, to_second),
    )


def conservative_verdict(verdicts: Verdicts) -> Side | None:
    """The side preferred in both orders, else a tie; None where a verdict is missing.

    Source: Zheng et al. 2023, section 3.4, "a win only when an answer is preferred in both orders".
    """
    if verdicts.a_first is None or verdicts.b_first is None:
        return None
    one, other = _side(verdicts.a_first, "a"), _side(verdicts.b_first, "b")
    return one if one == other else "tie"


def _side(slot: Slot, shown_first: Literal["a", "b"]) -> Side:
    if slot == "tie":
        return "tie"
    return "a" if (slot == "first") == (shown_first == "a") else "b"


def _two_sided(heads: int, tails: int) -> float:
    """Chance that a fair coin falls as unevenly, or more so."""
    from scipy.special import bdtrc

    more = max(heads, tails)
    return min(1.0, 2 * float(bdtrc(more - 1, heads + tails, 0.5))) if more else 1.0
