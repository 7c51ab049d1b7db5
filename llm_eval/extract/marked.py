"""Answers that the reply marks: a line, a box, a field, a fence, or whatever a pattern says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

from llm_eval.errors import InvalidSpec
from llm_eval.extract import NO_ANSWER, Extraction, extractor, labels_of
from llm_eval.extract.characters import half_width
from llm_eval.records import Sample

Which = Literal["first", "last"]

_ANSWER_LINE = {"en": r"ANSWER\s*:\s*", "zh": r"答案\s*:\s*[^\w\s]*\s*"}
_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_FENCE = re.compile(
    r"(?<![`~])(?P<fence>`{3,}+|~{3,}+)[ \t]*(?P<language>[^\s`]*)[^\n`]*\n(?P<code>.*?)(?:(?P=fence)|\Z)", re.DOTALL
)


@extractor("answer_line", version=1)
def answer_line(text: str, sample: Sample, *, language: Literal["en", "zh"] = "en") -> Extraction:
    """The label after the first "ANSWER:" (any case), or after the first "答案：" for language zh.

    Source: openai/simple-evals, `(?i)ANSWER\\s*:\\s*([A-D])`, and OpenCompass's cmmlu counterpart. Mended here: a word
    that begins with a label's letter ("Answer: Berlin") is no label, and a full-width colon is a colon.
    """
    labels = labels_of(sample, "answer_line")
    match = re.search(rf"{_ANSWER_LINE[language]}([{labels}])(?![a-z])", half_width(text), re.IGNORECASE)
    return Extraction.of(match[1].upper()) if match else NO_ANSWER


@extractor("boxed", version=1)
def boxed(text: str, sample: Sample) -> Extraction:
    """What the last \\boxed{…} holds whose braces are balanced; escaped braces do not count."""
    boxes: dict[int, int] = {}
    opened: list[tuple[int, bool]] = []
    for brace in _BRACE.finditer(text):
        if brace[0].endswith("{") and brace[0] != r"\{":
            opened.append((brace.end(), brace[0] != "{"))
        elif brace[0] == "}" and opened:
            start, is_box = opened.pop()
            if is_box:
                boxes[start] = brace.start()
    return Extraction.of(text[max(boxes) : boxes[max(boxes)]].strip()) if boxes else NO_ANSWER


@extractor("regex", version=1)
def regex(text: str, sample: Sample, *, pattern: str, group: int | str = 1, which: Which = "first") -> Extraction:
    """Group `group` of the first or last match of `pattern` (Python syntax; flags inline, such as `(?i)`).

    A match whose group is empty is passed over. Raises InvalidSpec for a pattern that does not compile or that lacks
    the group.
    """
    compiled = _compile(pattern)
    if group not in compiled.groupindex and (isinstance(group, str) or not 0 <= group <= compiled.groups):
        raise InvalidSpec(
            f"extractor 'regex': pattern {pattern!r} has no group {group!r}. Put the answer in brackets, or ask for "
            "`group: 0`, the whole match."
        )
    found = [m[group].strip() for m in compiled.finditer(text) if m[group] and not m[group].isspace()]
    return Extraction.of(found[0 if which == "first" else -1]) if found else NO_ANSWER


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InvalidSpec(f"extractor 'regex': pattern {pattern!r} is no regular expression: {error}.") from error


@extractor("json_field", version=1)
def json_field(text: str, sample: Sample, *, field: str) -> Extraction:
    """Field `field` of the last JSON object in the reply that has it, fenced or not; null is no answer.

    A text comes as it is, anything else as JSON (`true`, `3.5`, `["a"]`).
    """
    found = [o[field] for o in _json_objects(text) if field in o]
    if not found or found[-1] is None:
        return NO_ANSWER
    return Extraction.of(found[-1].strip() if isinstance(found[-1], str) else json.dumps(found[-1], ensure_ascii=False))


def _json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Outermost JSON objects, in order; braces that open none are passed over."""
    decoder, position = json.JSONDecoder(strict=False), text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except RecursionError:  # nested by the thousand: a model in a loop
            return
        except ValueError:
            end = position + 1
        else:
            yield value
        position = text.find("{", end)


@extractor("code_block", version=1)
def code_block(text: str, sample: Sample, *, language: str | None = None, which: Which = "first") -> Extraction:
    """The first or last fenced block, indentation kept; a fence that is never closed runs to the end.

    `language`: only blocks of that language, or, where there is none, blocks that name none.
    """
    blocks = [(m["language"].lower(), m["code"].rstrip()) for m in _FENCE.finditer(text)]
    if language is not None:
        named = [b for b in blocks if b[0] == language.lower()]
        blocks = named or [b for b in blocks if not b[0]]
    return Extraction.of(blocks[0 if which == "first" else -1][1]) if blocks else NO_ANSWER
