"""What is put before a judge: one answer with its question, its reference and the answers it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_eval.records import Sample


@dataclass(frozen=True, slots=True)
class Subject:
    """One answer to judge: the model's in turn `turn` (from 1) of a sample, with its conversation up to there.

    answers: the model's, one for each turn up to that one. others: name and answers, as many, of each baseline.
    """

    sample: Sample
    attempt: int
    turn: int
    answers: tuple[str, ...]
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()
    subset_title: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether the model said nothing in the turn judged."""
        return not self.answers[-1].strip()

    @property
    def opponents(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.others)


def names(subject: Subject, shown: Sequence[tuple[str, ...]], constants: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge's templates may use; `shown`: everybody's answers in the order shown."""
    sample, answer = subject.sample, subject.answers[-1]
    questions = (sample.input, *sample.follow_ups)
    references = [_reference(sample, turn) for turn in range(subject.turn)]
    found: dict[str, Any] = {
        **constants,
        "input": questions[subject.turn - 1],
        "answer": answer,
        "words": len(answer.split()),
        "reference": references[-1],
        "targets": sample.targets,
        "choices": sample.choices,
        "labels": sample.labels,
        "subset": sample.subset,
        "subset_title": subject.subset_title,
        "metadata": sample.metadata,
        "turn": subject.turn,
        "turns": _turns(questions, subject.answers, references),
    }
    if len(shown) > 1:
        found |= {
            "answers": [answers[-1] for answers in shown],
            "labels_shown": labels(len(shown)),
            "first": shown[0][-1],
            "second": shown[1][-1],
            "first_turns": _turns(questions, shown[0], references),
            "second_turns": _turns(questions, shown[1], references),
        }
    return found


def labels(count: int) -> tuple[str, ...]:
    """A, B, C, … for answers in the order shown."""
    return tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count])


def _reference(sample: Sample, turn: int) -> str:
    """Of a turn, from 0. Of a question with choices the right one's text follows its label."""
    if turn >= len(sample.targets) or (turn > 0 and not sample.follow_ups):
        return ""
    target = sample.targets[turn]
    if target in sample.labels:
        return f"{target}. {sample.choices[sample.labels.index(target)]}"
    return target


def _turns(questions: Sequence[str], answers: Sequence[str], references: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"user": question, "assistant": answer, "reference": reference}
        for question, answer, reference in zip(questions, answers, references, strict=False)
    ]
