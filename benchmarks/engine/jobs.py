"""What the in-process comparison asks: prompts in pieces, the same for both sides."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import exams
from corpus import Writer
from exams import Question

NEW_TOKENS = 64
STOP = ("Question:", "\n\n")
LETTERS = "ABCD"


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt: `header`, then `shots` (user, assistant), then `text`; `continuations` are scored, none: generate."""

    header: str
    shots: tuple[tuple[str, str], ...]
    text: str
    continuations: tuple[str, ...] = ()


class Size(NamedTuple):
    """questions: of each subject; of each form in the job cloze. shots: worked examples before each of them."""

    subjects: int
    questions: int
    shots: int


class Job(NamedTuple):
    """What it asks, and how much of it where nothing else is said."""

    what: str
    size: Size
    asks: Callable[[Size], list[Ask]]


def _letters(size: Size) -> list[Ask]:
    asks = []
    for exam in exams.mmlu(size.subjects, size.questions):
        examples = tuple((_with_letters(q), f" {LETTERS[q.answer]}\n\n") for q in exam.examples[: size.shots])
        header = mmlu_header(exam.subject.replace("_", " "))
        asks += [Ask(header, examples, _with_letters(q), tuple(f" {c}" for c in LETTERS)) for q in exam.questions]
    return asks


def mmlu_header(subject: str) -> str:
    return f"The following are multiple choice questions (with answers) about {subject}.\n\n"


def _with_letters(question: Question) -> str:
    choices = "".join(f"\n{letter}. {c}" for letter, c in zip(LETTERS, question.choices, strict=True))
    return f"{question.text}{choices}\nAnswer:"


def _hellaswag(size: Size) -> list[Ask]:
    return _endings(exams.hellaswag(size.questions, size.shots), "{}")


def _piqa(size: Size) -> list[Ask]:
    return _endings(exams.piqa(size.questions, size.shots), "Question: {}\nAnswer:")


def _cloze(size: Size) -> list[Ask]:
    return _hellaswag(size) + _piqa(size)


def _endings(exam: exams.Exam, form: str) -> list[Ask]:
    examples = tuple((form.format(q.text), f" {q.choices[q.answer]}\n\n") for q in exam.examples)
    return [Ask("", examples, form.format(q.text), tuple(f" {c}" for c in q.choices)) for q in exam.questions]


def _generation(size: Size) -> list[Ask]:
    examples = tuple(map(_example, exams.gsm8k(size.shots, seed=6)))
    return [Ask("", examples, f"Question: {p.text}\nAnswer:") for p in exams.gsm8k(size.questions)]


def _unshared(size: Size) -> list[Ask]:
    """Every prompt has examples of its own, as lm-evaluation-harness draws them unless a task says otherwise."""
    pool = iter(exams.gsm8k(size.questions * size.shots, seed=6))
    return [
        Ask("", tuple(map(_example, itertools.islice(pool, size.shots))), f"Question: {p.text}\nAnswer:")
        for p in exams.gsm8k(size.questions)
    ]


def _example(problem: exams.Problem) -> tuple[str, str]:
    return f"Question: {problem.text}\nAnswer:", f" {problem.solution}\n\n"


JOBS = {
    "letters": Job("MMLU form, log-likelihoods of the four letters", Size(2, 24, exams.SHOTS), _letters),
    "cloze": Job("HellaSwag form and PIQA form, choices of many tokens", Size(1, 24, 10), _cloze),
    "hellaswag": Job("the HellaSwag form alone, four endings", Size(1, 24, 10), _hellaswag),
    "piqa": Job("the PIQA form alone, two ways", Size(1, 24, 10), _piqa),
    "generation": Job(f"GSM8K form, the same examples for all, {NEW_TOKENS} new tokens", Size(1, 32, 5), _generation),
    "unshared": Job(f"GSM8K form, examples of its own for each, {NEW_TOKENS} new tokens", Size(1, 32, 5), _unshared),
}


def as_file(asks: Sequence[Ask]) -> dict[str, Any]:
    """The job as both sides read it."""
    return {"asks": [dataclasses.asdict(a) for a in asks], "new_tokens": NEW_TOKENS, "stop": list(STOP)}


def warm_up(generates: bool) -> list[Ask]:
    """Two short prompts of no job, so that what a library does once is not counted."""
    writer = Writer(seed=7)
    continuations = () if generates else (" A", f" {writer.phrase(3, 6)}")
    return [Ask("", (), writer.sentence(), continuations) for _ in range(2)]
