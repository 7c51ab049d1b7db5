"""The reply as it is."""

from __future__ import annotations

from llm_eval.extract import Extraction, extractor
from llm_eval.records import Sample


@extractor("whole_text", version=1)
def whole_text(text: str, sample: Sample) -> Extraction:
    """The reply without blanks around it."""
    return Extraction.of(text.strip())


@extractor("first_line", version=1)
def first_line(text: str, sample: Sample) -> Extraction:
    """The first line that is not blank, without blanks around it."""
    return Extraction.of(text.strip().split("\n", 1)[0].strip())
