"""Right or wrong: labels, texts, numbers."""

from __future__ import annotations

import string
import unicodedata
from typing import Annotated

from pydantic import Field

from llm_eval.errors import InvalidData
from llm_eval.extract.characters import half_width
from llm_eval.extract.numbers import numbers_in, parse_number
from llm_eval.metrics import Measure, metric
from llm_eval.metrics.text import references, words
from llm_eval.records import Sample

_ARTICLES = frozenset({"a", "an", "the"})


@metric("accuracy", interval="wilson")
def accuracy(answer: str, sample: Sample) -> Measure:
    """1 if the answer is the label of the right choice. Raises InvalidData if the target is none of the labels."""
    targets = references(sample, "accuracy")
    if wrong := [t for t in targets if t not in sample.labels]:
        raise InvalidData(
            f"sample {sample.id!r}: target {wrong[0]!r} is none of its labels {', '.join(sample.labels) or '(none)'}. "
            "Metric 'accuracy' is for choices, whose `fields.targets` is a label; for texts use exact_match."
        )
    return Measure(float(answer.strip().upper() in targets))


@metric("exact_match", interval="wilson")
def exact_match(
    answer: str,
    sample: Sample,
    *,
    ignore_case: bool = True,
    ignore_punctuation: bool = False,
    ignore_articles: bool = False,
) -> Measure:
    """1 if the answer equals a target.

    Blanks around and runs of blanks, full-width forms and closing full stops never matter. Punctuation does unless
    asked otherwise, for without it -3 is 3 and 1.5 is 15. All three options on: SQuAD's exact match. What an option
    would leave nothing of ("The" as an answer) is compared as it was.
    """

    def normal(text: str) -> str:
        kept = " ".join(half_width(text).split())
        kept = kept.casefold() if ignore_case else kept
        without = "".join(c for c in kept if not _is_punctuation(c)) if ignore_punctuation else kept.rstrip(".。")
        if ignore_articles:
            without = " ".join(w for w in without.split() if w.casefold() not in _ARTICLES)
        return " ".join(without.split()) or kept

    return Measure(float(normal(answer) in {normal(t) for t in references(sample, "exact_match")}))


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


@metric("numeric_match", interval="wilson")
def numeric_match(answer: str, sample: Sample, *, tolerance: Annotated[float, Field(ge=0)] = 1e-6) -> Measure:
    """1 if the answer's number is within `tolerance` (absolute) of a target's.

    "1,234", "$5.00" and "18 dollars" are numbers; an answer that holds none, or several, is wrong. Raises InvalidData
    for a target that is no number.
    """
    wanted = [_target_number(sample, t) for t in references(sample, "numeric_match")]
    found = _answer_number(answer)
    if found is None:
        return Measure(0.0, explanation=f"{answer[:80]!r} is not one number")
    return Measure(float(any(abs(found - w) <= tolerance for w in wanted)))


def _answer_number(answer: str) -> float | None:
    whole = parse_number(answer)
    if whole is not None:
        return whole
    numbers = numbers_in(answer)
    return parse_number(numbers[0]) if len(numbers) == 1 else None


def _target_number(sample: Sample, target: str) -> float:
    number = parse_number(target)
    if number is None:
        raise InvalidData(
            f"sample {sample.id!r}: target {target!r} is not a number, and metric 'numeric_match' compares numbers. "
            "Let `fields.targets` pick the number out of the column, or use exact_match."
        )
    return number


@metric("contains", interval="wilson")
def contains(answer: str, sample: Sample) -> Measure:
    """1 if any target stands in the answer as whole words; case, punctuation and articles aside.

    A target of which nothing is left ("A") matches only an answer that is nothing else; an empty one never does.
    Lenient: an answer that lists several guesses is right if one is. Source: OpenCompass's TriviaQA and NQ scoring,
    mended: there a target is any substring, and one that normalises to nothing makes every answer right.
    """
    targets = references(sample, "contains")
    if answer.strip().casefold() in {t.strip().casefold() for t in targets} - {""}:
        return Measure(1.0)
    said = _phrase(answer)
    return Measure(float(any(len(phrase) > 1 and phrase in said for phrase in map(_phrase, targets))))


def _phrase(text: str) -> str:
    """Words between single blanks, one blank at each end, so that `in` compares whole words."""
    kept = [w for w in words(half_width(text)) if w not in _ARTICLES]
    return f" {' '.join(kept)} " if kept else ""
