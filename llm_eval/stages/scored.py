"""What has been scored, and of which responses: whatever comes after score goes by this.

Runs of one pair share a folder of responses, where others may add answers at any time. No text of theirs may stand
beside a score of another one, so the scores' file says which files of responses it is made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llm_eval import layout, tables
from llm_eval.errors import IncompleteStage, NotThere
from llm_eval.layout import Layout
from llm_eval.records import Response, Score
from llm_eval.stages.responses import read_parts


class Scored(NamedTuple):
    """parts: names of the files of responses."""

    scores: list[Score]
    parts: tuple[str, ...]

    def responses(self, place: Layout) -> dict[tuple[str, int], Response]:
        return read_parts(place, self.parts)


def write_scored(place: Layout, scores: Sequence[Score], parts: Sequence[str]) -> str:
    """The file's address."""
    tables.write(_address(place), Score, scores, sources=parts)
    return _address(place)


def read_scored(place: Layout) -> Scored:
    """Raises IncompleteStage where nothing has been scored."""
    try:
        return Scored(*tables.read_with_sources(_address(place), Score))
    except NotThere as error:
        raise IncompleteStage(f"{_address(place)} is not there: run `llm-eval score {place.run_uri}` first") from error


def _address(place: Layout) -> str:
    return layout.join(place.scores, "scores.parquet")
