"""An item as raters see it. What models wrote is hostile until proven otherwise: it is shown as text, inert."""

from __future__ import annotations

import re

from llm_eval.human.records import FIRST, SECOND, TIE, Item
from llm_eval.specs import Human, HumanPreference

SKIP = "Skip"
_TICKS = re.compile(r"`+")
_MERGED = re.compile(r"^ +| {2,}| +$")
_CONTROL = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {0x7F: "\u2421"}
# Characters that turn the direction of what follows: an answer could be made to read otherwise.
_TURNING = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\N{REPLACEMENT CHARACTER}")


def plain(text: str) -> str:
    """`text` with one kind of line end, and control characters as their visible pictures (␛ for ESC)."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROL | _TURNING)


def verbatim(text: str) -> str:
    """`text` as Markdown that shows it and nothing else: each line a span of code, in which Markdown, HTML and links
    mean nothing, and which no run of backticks within it can end.

    Spans and not one block of code, whose line ends Airflow 3.3 shows as blanks. Blanks that HTML would merge become
    ones that it keeps. Source: CommonMark 0.31, 6.1: a span ends at a run of backticks exactly as long as the first.
    """
    return "\\\n".join(_span(line) for line in plain(text).expandtabs(4).split("\n"))


def _span(line: str) -> str:
    line = _MERGED.sub(lambda blanks: "\N{NO-BREAK SPACE}" * len(blanks[0]), line) or "\N{NO-BREAK SPACE}"
    ticks = "`" * (1 + max((len(ticks) for ticks in _TICKS.findall(line)), default=0))
    beside = " " if "`" in (line[0], line[-1]) else ""
    return f"{ticks}{beside}{line}{beside}{ticks}"


def subject(item: Item, human: Human, count: int) -> str:
    return f"Item {item.position} of {count}: {question_of(human)}"


def question_of(human: Human) -> str:
    if isinstance(human.ask, HumanPreference):
        return "which answer is better?"
    return f"how good is the answer, from {human.ask.low} (worst) to {human.ask.high} (best)?"


def body(item: Item, human: Human) -> str:
    """Markdown: the instructions, the question, and each answer."""
    parts = [human.instructions.strip()] if human.instructions.strip() else []
    parts += ["**Question**", verbatim(item.question)]
    for title, answer in zip(titles(human), item.answers, strict=True):
        parts += [f"**{title}**", verbatim(answer) if answer.strip() else "*The answer is empty.*"]
    return "\n\n".join(parts) + "\n"


def titles(human: Human) -> tuple[str, ...]:
    return ("Answer 1", "Answer 2") if isinstance(human.ask, HumanPreference) else ("Answer",)


def options(human: Human) -> dict[str, str | None]:
    """What a rater may choose → the answer that it stands for, None for none."""
    if isinstance(human.ask, HumanPreference):
        first, second = titles(human)
        return {first: FIRST, second: SECOND, "Tie": TIE, SKIP: None}
    return {**{str(value): str(value) for value in human.ask.scale}, SKIP: None}
