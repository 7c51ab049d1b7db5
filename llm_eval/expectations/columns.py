"""What a rule looks at in a sample: one number per sample, None where the rule does not concern it.

Counted here rather than by regular expressions on the data frame: those may run on RE2 there, for which an ideographic
space is not a space.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from llm_eval.records import Sample

_CJK = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_LETTERS = re.compile(r"[^\W\d_]+")
_LATIN_LETTERS = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]+")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data frame that Great Expectations sees; `name` tells what is counted."""

    name: str
    of: Callable[[Sample], float | str | None]


def input_text(sample: Sample) -> str:
    """The question as one text; the turns of a conversation are joined by newlines."""
    return "\n".join((sample.input, *sample.follow_ups))


def _visible(text: str) -> int:
    return len(text.strip())


def _blank(texts: tuple[str, ...]) -> int:
    return sum(not text.strip() for text in texts)


def _foreign(sample: Sample) -> int:
    return sum(target not in sample.labels for target in sample.targets)


def _latin_share(sample: Sample) -> float | None:
    text = input_text(sample)
    if text.isascii():  # most English inputs; counting their letters would take most of the time of all rules
        return 1.0 if _LETTERS.search(text) else None
    letters = sum(map(len, _LETTERS.findall(text)))
    return sum(map(len, _LATIN_LETTERS.findall(text))) / letters if letters else None


ID = Column("id", lambda s: s.id)
ID_CHARACTERS = Column("id_characters", lambda s: _visible(s.id))
INPUT_CHARACTERS = Column("input_characters", lambda s: len(input_text(s)))
VISIBLE_INPUT_CHARACTERS = Column("visible_input_characters", lambda s: _visible(input_text(s)))
FIRST_TARGET_CHARACTERS = Column("first_target_characters", lambda s: _visible("".join(s.targets[:1])))
BLANK_TARGETS = Column("blank_targets", lambda s: _blank(s.targets) if s.targets else None)
CHOICES = Column("choices", lambda s: len(s.choices))
CHOICES_IF_ANY = Column("choices_if_any", lambda s: len(s.choices) or None)
BLANK_CHOICES = Column("blank_choices", lambda s: _blank(s.choices))
FOREIGN_TARGETS = Column("foreign_targets", lambda s: _foreign(s) if s.targets else 1)
FOREIGN_TARGETS_IF_CHOICES = Column("foreign_targets_if_choices", lambda s: _foreign(s) if s.choices else None)
CJK_CHARACTERS = Column("cjk_characters", lambda s: len(_CJK.findall(input_text(s))))
LATIN_SHARE = Column("latin_share", _latin_share)


def targets_unlike(pattern: str) -> Column:
    """How many targets do not match `pattern` whole."""
    compiled = re.compile(pattern)
    return Column(
        f"targets_unlike {pattern}",
        lambda s: sum(compiled.fullmatch(t) is None for t in s.targets) if s.targets else None,
    )
