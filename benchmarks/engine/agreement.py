"""Whether two sides answered alike, and whether the answers vary enough for that to mean something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE = 1e-4  # nats; float32, different order of summation


@dataclass(frozen=True, slots=True)
class Agreement:
    """`lines` say it. `exact`: every choice and text the same, log-likelihoods within 1e-4, as float32 must be."""

    lines: list[str]
    exact: bool


def of_choices(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Agreement:
    """Log-likelihoods of each question's choices."""
    picked = [best(o) for o in ours]
    same = sum(p == best(t) for p, t in zip(picked, theirs, strict=True))
    apart = max(abs(a - b) for o, t in zip(ours, theirs, strict=True) for a, b in zip(o, t, strict=True))
    spread = ", ".join(f"{'ABCD'[choice]} {count}" for choice, count in sorted(Counter(picked).items()))
    return Agreement(
        [f"predictions: {same} of {len(ours)} the same ({spread}), max |difference of log-likelihoods| {apart:.2g}"],
        same == len(ours) and apart <= TOLERANCE,
    )


def of_texts(ours: Sequence[str], theirs: Sequence[str]) -> Agreement:
    """Generated texts."""
    same = sum(o == t for o, t in zip(ours, theirs, strict=True))
    return Agreement([f"texts: {same} of {len(ours)} identical, {len(set(ours))} different ones"], same == len(ours))


def best(values: Sequence[float]) -> int:
    """Index of the largest, the first of equals."""
    return max(range(len(values)), key=values.__getitem__)
