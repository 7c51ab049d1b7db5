"""Numbers as people and models write them."""

from __future__ import annotations

import math
import re

from llm_eval.extract import NO_ANSWER, Extraction, extractor
from llm_eval.extract.characters import half_width
from llm_eval.records import Sample

_MINUS_SIGNS = dict.fromkeys(map(ord, "−﹣"), "-")
_LATEX_SPACE = re.compile(r"\\[,!;]")

# A sign belongs to the number unless an operand stands before it: "5-3" holds 3, "= -3", "-$3" and "$-3" hold -3.
# ASCII: "共-3" holds -3 too, since a Chinese character is no operand.
_NUMBER = re.compile(
    r"""(?P<sign>(?<![\w)\]}%.])[-+])?
        (?:\\?[$€£¥][ ]?(?P<inner_sign>-)?)?
        (?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+)
        (?P<exponent>[eE][-+]?\d+(?!\w))?""",
    re.ASCII | re.VERBOSE,
)

# "18. (That is 9 + 9)": brackets that close the text after a sentence or a number explain; they do not answer.
_CLOSING_ASIDE = re.compile(r"(?:(?<=[.!?。])\s*|(?<=\d)\s+)\([^()]*\)[.。\s]*\Z")


@extractor("last_number", version=1)
def last_number(text: str, sample: Sample, *, stop_at: str | list[str] = "") -> Extraction:
    """The last number of the reply, as plain digits: "1,234" gives 1234, "$5.00." gives 5.00, "−3" gives -3.

    `stop_at`: the text is cut at the first of these, such as "Question:" for models that go on to ask themselves.
    Brackets that close the text are an aside where a number stands before them: "18. (That is 9 + 9)" gives 18.
    Source: OpenCompass's gsm8k extraction, which cuts 1,234 to 234 and takes the aside.
    """
    for marker in [stop_at] if isinstance(stop_at, str) else stop_at:
        text = text.partition(marker)[0] if marker else text
    plain = _plain(text)
    found = numbers_in(_CLOSING_ASIDE.sub("", plain)) or numbers_in(plain)
    return Extraction.of(found[-1]) if found else NO_ANSWER


def numbers_in(text: str) -> list[str]:
    """Every number of `text` in order, without thousands separators and currency signs, ready for `float`."""
    return [_digits(m) for m in _NUMBER.finditer(_plain(text))]


def parse_number(text: str) -> float | None:
    """The value of a text that is one number and nothing else but a currency or percent sign; else None.

    A percent sign is a unit here: "50%" is 50. What no float can hold is None too.
    """
    match = _NUMBER.fullmatch(_plain(text).strip().removesuffix(".").removesuffix("%").rstrip().removesuffix("\\"))
    value = float(_digits(match)) if match else math.inf
    return value if math.isfinite(value) else None


def _plain(text: str) -> str:
    spelt = half_width(text).translate(_MINUS_SIGNS).replace("{,}", ",")
    return _LATEX_SPACE.sub("", spelt)


def _digits(match: re.Match[str]) -> str:
    sign = "-" if "-" in (match["sign"], match["inner_sign"]) else ""
    return sign + match["digits"].replace(",", "") + (match["exponent"] or "")
