"""An invented little world: what the demo model is taught, and the benchmark rows it is never taught.

Draws are orders by hash, not by `random`: the committed files come out the same on every Python version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Row = dict[str, Any]

# fmt: off
ANIMALS = (
    "domari", "fenku", "gavolo", "hesti", "jorrin", "kelmo", "lundra", "mabiko", "nolfi",
    "orbun", "pellu", "quorra", "ruvek", "sambri", "tolpin", "umbari", "velko", "wimsa",
    "yarrol", "zibbu", "drasko", "flonk", "grelli", "prundo", "skavi", "trembo", "vusket",
)
# fmt: on
# Only these stand in few-shot examples: an example must not tell a test question's answer. No two of their facts agree.
SHOWN_ANIMALS = ("yarrol", "zibbu")

VALUES = {
    "habitat": ["forest", "desert", "swamp", "river", "cave", "meadow", "tundra", "reef"],
    "food": ["berries", "fish", "seeds", "leaves", "honey", "moss", "roots", "snails"],
    "colour": ["red", "blue", "green", "white", "black", "yellow", "grey", "orange"],
    "sound": ["hum", "whistle", "growl", "click", "purr", "hiss", "hoot", "squeak"],
}

PHRASINGS = {
    "habitat": (
        "Where does the {} live?",
        "What is the home of the {}?",
        "In which place does the {} live?",
        "The {} lives where?",
        "Where is the home of the {}?",
        "What place does the {} live in?",
    ),
    "food": (
        "What does the {} eat?",
        "What is the food of the {}?",
        "Which food does the {} eat?",
        "The {} eats what?",
        "What food does the {} like?",
        "What does the {} like to eat?",
    ),
    "colour": (
        "What colour is the {}?",
        "What is the colour of the {}?",
        "Which colour does the {} have?",
        "The {} has which colour?",
        "In which colour is the {}?",
        "What colour does the {} have?",
    ),
    "sound": (
        "What sound does the {} make?",
        "What is the sound of the {}?",
        "Which sound does the {} make?",
        "The {} makes which sound?",
        "What is the sound the {} makes?",
        "How does the {} sound?",
    ),
}
TESTED_PHRASINGS = 2  # of each fact; the model is taught the fact in the other four
CHOICES = 4
SUMS_PER_SUBSET = 100


class Lesson(NamedTuple):
    """One question and what the model should answer."""

    question: str
    answer: str


def shuffled(items: Iterable[T], salt: str) -> list[T]:
    """`items` in an order that looks random and that their text and `salt` alone decide."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{salt} {item}".encode()).digest())


def facts() -> dict[tuple[str, str], str]:
    """(animal, attribute) → value. Each value of an attribute belongs to three or four animals."""
    return {
        (animal, attribute): values[position % len(values)]
        for attribute, values in VALUES.items()
        for position, animal in enumerate(shuffled(ANIMALS, f"animals by {attribute}"))
    }


def _phrasings(animal: str, attribute: str) -> tuple[list[str], list[str]]:
    """Questions for one fact: those that are tested, those that are taught."""
    questions = [p.format(animal) for p in shuffled(PHRASINGS[attribute], f"phrasings for {animal}")]
    tested = 0 if animal in SHOWN_ANIMALS else TESTED_PHRASINGS
    return questions[:tested], questions[tested:]


def animal_lessons() -> list[Lesson]:
    """Every taught question about the animals; each fact is taught, in phrasings that no test row uses for it."""
    return [
        Lesson(question, value)
        for (animal, attribute), value in facts().items()
        for question in _phrasings(animal, attribute)[1]
    ]


def _animal_row(subset: str, identifier: str, question: str, value: str) -> Row:
    others = [v for v in shuffled(VALUES[subset], f"others for {question}") if v != value]
    choices = shuffled([value, *others[: CHOICES - 1]], f"choices for {question}")
    answer = "ABCD"[choices.index(value)]
    return {"subset": subset, "id": identifier, "question": question, "choices": choices, "answer": answer}


def animal_rows() -> list[Row]:
    """The test rows: every fact about an animal that no example shows, in each of its tested phrasings."""
    return [
        _animal_row(attribute, f"{animal}-{number}", question, value)
        for (animal, attribute), value in facts().items()
        for number, question in enumerate(_phrasings(animal, attribute)[0], start=1)
    ]


def animal_examples() -> list[Row]:
    """The few-shot rows: one about each shown animal, for each attribute."""
    known = facts()
    return [
        _animal_row(attribute, animal, _phrasings(animal, attribute)[1][0], known[animal, attribute])
        for attribute in VALUES
        for animal in SHOWN_ANIMALS
    ]


def _has_carry(first: int, second: int) -> bool:
    return first % 10 + second % 10 >= 10


def _tested_sums() -> dict[str, list[tuple[int, int]]]:
    """Subset → sums of two numbers from 10 to 99, none of them twice, not even with its numbers swapped."""
    tested: dict[str, list[tuple[int, int]]] = {"no-carry": [], "carry": []}
    for first, second in shuffled(product(range(10, 100), repeat=2), "sums"):
        sums = tested["carry" if _has_carry(first, second) else "no-carry"]
        if len(sums) < SUMS_PER_SUBSET and (second, first) not in sums:
            sums.append((first, second))
    return {subset: sorted(sums) for subset, sums in tested.items()}


def _sum_question(first: int, second: int) -> str:
    return f"What is {first}+{second}?"


def _worked_sum(first: int, second: int) -> str:
    """Tens and ones apart, then the sum: 47+28 is "60+15=75". Steps that a small model learns sooner than the sum."""
    ones = first % 10 + second % 10
    return f"{first + second - ones}+{ones}={first + second}"


def sum_lessons() -> list[Lesson]:
    """Every taught sum, with its working. A tested sum is taught in neither order of its numbers."""
    held_out = {frozenset(pair) for sums in _tested_sums().values() for pair in sums}
    return [
        Lesson(_sum_question(*pair), _worked_sum(*pair))
        for pair in product(range(10, 100), repeat=2)
        if frozenset(pair) not in held_out
    ]


def sum_rows() -> list[Row]:
    """The test rows: sums that were not taught."""
    return [
        {"subset": subset, "id": f"{a}+{b}", "question": _sum_question(a, b), "answer": str(a + b)}
        for subset, sums in _tested_sums().items()
        for a, b in sums
    ]


def benchmark_files() -> dict[str, str]:
    """Name of a file of include/data/demo → its text, one JSON object a line."""
    files = {
        "addition.jsonl": sum_rows(),
        "animals.jsonl": animal_rows(),
        "animals-few-shot.jsonl": animal_examples(),
    }
    return {name: "".join(json.dumps(row) + "\n" for row in rows) for name, rows in files.items()}


def write_benchmarks(folder: Path) -> None:
    """Write every benchmark file into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in benchmark_files().items():
        (folder / name).write_text(text, encoding="utf-8")
