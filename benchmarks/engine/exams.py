"""Questions in the form and at the lengths of the well-known benchmarks, drawn by a seed.

Lengths in words were set so that five worked examples and a question of `mmlu` come to about 800 tokens of the
benchmark's own vocabulary, as MMLU's do with one of that size.
"""

from __future__ import annotations

from typing import NamedTuple

from corpus import Writer

SUBJECTS = (
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "business_ethics",
    "college_biology",
    "college_physics",
    "computer_security",
    "econometrics",
)
CHINESE_SUBJECTS = {
    "computer_network": "计算机网络",
    "operating_system": "操作系统",
    "college_economics": "大学经济学",
    "logic": "逻辑学",
    "law": "法学",
    "accountant": "注册会计师",
}
SHOTS = 5


class Question(NamedTuple):
    text: str
    choices: tuple[str, ...]
    answer: int  # index of the right choice


class Problem(NamedTuple):
    """A word problem; `solution` ends in "#### n"."""

    text: str
    solution: str


class Exam(NamedTuple):
    """One subject: worked examples, and the questions asked."""

    subject: str
    examples: list[Question]
    questions: list[Question]


def mmlu(subjects: int, questions: int, seed: int = 1) -> list[Exam]:
    """Four choices of 2 to 13 words after a question of one to five sentences."""
    writer = Writer(seed)
    return [_exam(subject, [_mmlu(writer) for _ in range(SHOTS + questions)]) for subject in SUBJECTS[:subjects]]


def ceval(questions: int, seed: int = 2) -> list[Exam]:
    """Six subjects of Chinese questions with four choices."""
    writer = Writer(seed)
    return [_exam(subject, [_ceval(writer) for _ in range(SHOTS + questions)]) for subject in CHINESE_SUBJECTS]


def hellaswag(questions: int, shots: int, seed: int = 3) -> Exam:
    """A scene of two to three sentences and four endings of 12 to 30 words."""
    writer = Writer(seed)
    rows = [
        Question(
            f"{writer.word().capitalize()} {writer.word()}: {writer.sentence(12, 26)} {writer.sentence(12, 26)} "
            f"{writer.phrase(2, 5).capitalize()}",
            tuple(f"{writer.phrase(12, 30)}." for _ in range(4)),
            writer.number(0, 3),
        )
        for _ in range(shots + questions)
    ]
    return Exam("hellaswag", rows[:shots], rows[shots:])


def piqa(questions: int, shots: int, seed: int = 4) -> Exam:
    """A goal of 5 to 14 words and two ways there of 8 to 32."""
    writer = Writer(seed)
    rows = [
        Question(
            f"{writer.phrase(5, 14).capitalize()}?",
            tuple(writer.sentence(8, 32) for _ in range(2)),
            writer.number(0, 1),
        )
        for _ in range(shots + questions)
    ]
    return Exam("piqa", rows[:shots], rows[shots:])


def gsm8k(problems: int, seed: int = 5) -> list[Problem]:
    """Sums in two or three steps, solved in GSM8K's way with the calculator's annotations."""
    writer = Writer(seed)
    return [_gsm8k(writer) for _ in range(problems)]


def _exam(subject: str, rows: list[Question]) -> Exam:
    return Exam(subject, rows[:SHOTS], rows[SHOTS:])


def _mmlu(writer: Writer) -> Question:
    sentences = int(writer.pick("1", "1", "1", "1", "2", "2", "2", "2", "3", "3", "5"))
    body = " ".join(writer.sentence() for _ in range(sentences))
    text = f"{body} Which of the following completes the statement about {writer.phrase(2, 5)}?"
    return Question(text, tuple(writer.phrase(2, 13) for _ in range(4)), writer.number(0, 3))


def _ceval(writer: Writer) -> Question:
    text = f"{writer.chinese(8, 30)}，下列关于{writer.chinese(2, 3)}的说法正确的是____"
    return Question(text, tuple(writer.chinese(2, 9) for _ in range(4)), writer.number(0, 3))


def _gsm8k(writer: Writer) -> Problem:
    who, whom = writer.word().capitalize(), writer.word().capitalize()
    thing, other = writer.word(), writer.word()
    n, k, m, p = writer.number(3, 40), writer.number(2, 9), writer.number(2, 12), writer.number(2, 15)
    if writer.pick("boxes", "market") == "boxes":
        given = p % n
        held, had, left = k * m, n + k * m, n + k * m - given
        return Problem(
            f"{who} has {n} {thing} and buys {k} more boxes with {m} {thing} in each box. Then {who} gives {given} "
            f"{thing} to {whom}. How many {thing} does {who} have now?",
            f"The boxes hold {k} * {m} = <<{k}*{m}={held}>>{held} {thing}.\n{who} then has {n} + {held} = "
            f"<<{n}+{held}={had}>>{had} {thing}.\nAfter giving some away, {who} has {had} - {given} = "
            f"<<{had}-{given}={left}>>{left} {thing}.\n#### {left}",
        )
    first, second = n * m, k * p
    return Problem(
        f"{who} sells {n} {thing} at ${m} each and {k} {other} at ${p} each at the market on Saturday, while {whom} "
        f"watches. How many dollars does {who} earn in all?",
        f"The {thing} bring {n} * {m} = $<<{n}*{m}={first}>>{first}.\nThe {other} bring {k} * {p} = "
        f"$<<{k}*{p}={second}>>{second}.\nIn all that is {first} + {second} = "
        f"$<<{first}+{second}={first + second}>>{first + second}.\n#### {first + second}",
    )
