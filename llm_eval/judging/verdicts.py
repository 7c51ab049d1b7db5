"""From what a reader found to a checked verdict: a known label, a number on the scale, a whole ranking."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_eval.judging.readers import Raw, Unreadable, quoted
from llm_eval.specs import Correctness, Dimensions, Grade, Pairwise, Ranking, Rating, Scale

GRADES: dict[Grade, float] = {"first_much": 1.0, "first": 1.0, "tie": 0.5, "second": 0.0, "second_much": 0.0}
_NUMBER = re.compile(r"(?P<value>-?\d+(?:\.\d+)?) ?(?:(?:/|out of) ?(?P<of>\d+(?:\.\d+)?))? ?(?:分|points?)?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`value` as records.Judgement has it, of pairs and rankings for the answer shown first."""

    text: str
    value: float | None
    dimensions: dict[str, float] = field(default_factory=dict)
    places: tuple[int, ...] = ()
    """Of a ranking: the place, from 0, of each answer in the order shown."""


def correctness(raw: Raw, kind: Correctness) -> Verdict:
    """Raises Unreadable unless `raw` is one of the labels, in any case."""
    meaning = kind.labels[_label(raw, kind.labels)]
    return Verdict(meaning, {"correct": 1.0, "incorrect": 0.0, "not_attempted": None}[meaning])


def rating(raw: Raw, kind: Rating) -> Verdict:
    """Raises Unreadable unless `raw` is a number on the scale; "8/10" is 8 where the scale ends at 10."""
    if not isinstance(raw, str):
        raise Unreadable("one number is needed")
    value = _number("the rating", raw, kind)
    return Verdict(f"{value:g}", value)


def dimensions(raw: Raw, kind: Dimensions, names: Sequence[str]) -> Verdict:
    """Raises Unreadable unless the overall rating, and where `strict` every dimension, are numbers on the scale."""
    if not isinstance(raw, Mapping):
        raise Unreadable("a dictionary of ratings is needed")
    missing = [name for name in (kind.overall, *names) if name not in raw]
    if missing and (kind.strict or kind.overall in missing):
        raise Unreadable(f"no rating of {', '.join(missing)}")
    found = {name: _number(name, raw[name], kind) for name in (kind.overall, *names) if name in raw}
    overall = found.pop(kind.overall)
    return Verdict(f"{overall:g}", overall, found)


def pair(raw: Raw, kind: Pairwise) -> Verdict:
    """Raises Unreadable unless `raw` is one of the labels. Case counts: AlpacaEval's are m and M."""
    label = _label(raw, kind.labels, ignore_case=False)
    return Verdict(kind.labels[label], GRADES[kind.labels[label]])


def likely_pair(logprobs: Mapping[str, float], kind: Pairwise) -> Verdict:
    """The probability of the label that means `first`, of those of both labels, from log-probabilities in nats.

    A label that is not among the likeliest tokens has probability 0, as in tatsu-lab/alpaca_eval, logprob_parser.
    Raises Unreadable if neither is there.
    """
    by_grade = {grade: logprobs[label] for label, grade in kind.labels.items() if label in logprobs}
    by_grade = {grade: logprob for grade, logprob in by_grade.items() if math.isfinite(logprob)}
    if not by_grade:
        raise Unreadable("neither label is among the likeliest first tokens")
    likeliest = max(by_grade.values())  # some servers say -9999 for "next to nothing", of which no exponential is left
    weights = {grade: math.exp(logprob - likeliest) for grade, logprob in by_grade.items()}
    value = weights.get("first", 0.0) / math.fsum(weights.values())
    return Verdict("first" if value > 0.5 else "second" if value < 0.5 else "tie", value)


def ranking(raw: Raw, kind: Ranking, labels: Sequence[str]) -> Verdict:
    """`raw`: a list of labels, or a text of them with `>` or commas between. Raises Unreadable unless each is there."""
    if isinstance(raw, Mapping):
        raise Unreadable(f"a list is needed, of each of {', '.join(labels)} once, the best first")
    parts = re.split(r"[>,，、\s]+", raw) if isinstance(raw, str) else list(raw)
    found = [said for part in parts if (said := str(part).strip())]
    if sorted(found) != sorted(labels):
        raise Unreadable(f"a ranking names each of {', '.join(labels)} once, the best first")
    places = tuple(found.index(label) for label in labels)
    return Verdict(" > ".join(found), 1 - places[0] / (len(labels) - 1), places=places)


def _label(raw: Raw, labels: Mapping[str, Any], *, ignore_case: bool = True) -> str:
    said = raw.strip() if isinstance(raw, str) else ""
    for label in labels:
        if said == label or (ignore_case and said.casefold() == label.casefold()):
            return label
    known = ", ".join(labels)
    raise Unreadable(f"{quoted(said)} is none of {known}" if said else f"one of {known} is needed")


def _number(what: str, raw: Any, kind: Scale) -> float:
    said = " ".join(str(raw).split())
    match = _NUMBER.fullmatch(said) if not isinstance(raw, bool) else None
    if match is None:
        raise Unreadable(f"{what}: {quoted(said)} is not a number")
    if match["of"] is not None and float(match["of"]) != kind.high:
        raise Unreadable(f"{what}: {quoted(said)} is not on the scale of {kind.low:g} to {kind.high:g}")
    value = float(match["value"])
    if not kind.low <= value <= kind.high:
        raise Unreadable(f"{what}: {value:g} is not between {kind.low:g} and {kind.high:g}")
    if kind.whole and value != int(value):
        raise Unreadable(f"{what}: {value:g} is not a whole number")
    return value
