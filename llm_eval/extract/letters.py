"""Which letters of a reply can stand for a choice: markup is taken off, and every such letter becomes a mark.

A mark is one private character, so that patterns over a marked text need not know the labels, nor tell the article
"A" from the choice. There are two kinds: letters on their own, and letters in brackets, quotes or bold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from llm_eval.extract.characters import half_width

_BARE, _ENCLOSED = 0xE000, 0xE020  # 32 apart: the low five bits are the letter
ENCLOSED_MARK = f"[{chr(_ENCLOSED)}-{chr(_ENCLOSED + 25)}]"
MARK = f"[{chr(_BARE)}-{chr(_ENCLOSED + 25)}]"

_LATEX_WRAPPER = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|bb|sf|it)|boldsymbol|rm)\s*\{([^{}]*)\}")
_BOLD_LETTER = re.compile(r"(\*\*|__|\*)\s*\(?([A-Z])[.:)]*\s*\1(?!\w)")
_MARKUP = re.compile(r"\*\*|__|`+|(?<!\w)\*|\*(?!\w)|\\[()\[\]]|\$|</?(?:b|strong|em)>")

_NAMES_A_THING = re.compile(
    r"\b(?:vitamin|hepatitis|type|group|plan|grade|class|figure|table|part|section|point|phase|appendix)s?\s\Z",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """`text` without Markdown, LaTeX, full-width forms and runs of blanks; a letter in bold comes in brackets."""
    text = re.sub(MARK, " ", half_width(text))
    text = re.sub(r"\n\s*\n\s*", "\n\n", re.sub(r"[^\S\n]+", " ", text)).strip()
    text = _LATEX_WRAPPER.sub(r"\1", _LATEX_WRAPPER.sub(r"\1", text))
    return _MARKUP.sub("", _BOLD_LETTER.sub(r"(\2)", text))


def mark(text: str, labels: str, choices: Sequence[str]) -> str:
    """`text` (plain) with each letter that can stand for one of `labels` as a mark, its brackets or quotes taken in.

    Left alone: letters of words and names ("X-ray", "vitamin C"), the article and the pronoun, and letters inside
    one of `choices`, the choices' own texts ("both B and C").
    """
    # A choice that is nothing but a letter is asked about by its label.
    choices = [choice for choice in choices if len(choice) > 1 and _letter(labels).search(choice)]
    named = [span for choice in choices for span in _spans(text, choice)]

    def marked(match: re.Match[str]) -> str:
        letter = match["enclosed"] or match["small"] or match["bare"]
        if any(start <= match.start() and match.end() <= end for start, end in named):
            return match[0]
        if match["bare"] and _NAMES_A_THING.search(text, max(0, match.start() - 12), match.start()):
            return match[0]
        return chr((_BARE if match["bare"] else _ENCLOSED) + ord(letter.upper()) - ord("A"))

    return _letter(labels).sub(marked, text)


def letters(marked: str) -> tuple[str, ...]:
    """The labels that the marks of a text stand for, each once, in order of appearance."""
    return tuple(dict.fromkeys(chr(ord("A") + (ord(m) & 0x1F)) for m in re.findall(MARK, marked)))


def _spans(text: str, choice: str) -> Iterator[tuple[int, int]]:
    position = text.find(choice)
    while position >= 0:
        yield position, position + len(choice)
        position = text.find(choice, position + len(choice))


@cache
def _letter(labels: str) -> re.Pattern[str]:
    # "A dog" and "I think" are words: these two need a reason to be labels when another word or a number follows.
    goes_on = r"is|are|and|or|because|since|as|for|but|which|with|due|given|based|in|not|rather|over|would|both"
    rules = {
        "A": rf"(?![ \t]+(?!(?:{goes_on})\b|[A-Z]\b)[A-Za-z0-9])",
        "I": r"(?![ \t]+(?!(?:is|because|since)\b|[A-Z]\b)[A-Za-z]|\s*,)",
    }
    one = "|".join(letter + rules.get(letter, "") for letter in labels)
    return re.compile(
        rf"""(?<![A-Za-z0-9'’_])[(\[{{"“‘「『【《]{{1,3}}[ ]?
             (?:(?P<enclosed>[{labels}])|(?P<small>[{labels.lower()}]))[ .]?[)\]}}"”’」』】》]{{1,3}}
            |(?<![A-Za-z0-9'’_-])(?P<bare>{one})(?![A-Za-z0-9_%°+]|['’-][A-Za-z]|\.[A-Za-z]\b)""",
        re.VERBOSE,
    )
