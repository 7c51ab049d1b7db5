"""Published rows as tables, pages and pictures. Marks and footnotes keep a partial result from passing for a full one.

render(rows, "md")                      one of FORMATS, as text
run_report(rows)                        what `llm-eval run` prints at its end
leaderboard_files(rows, suite)          the files of a suite's leaderboard
render_comparison(family, "table")      what `llm-eval compare` prints
report_text(report)                     a checkpoint's report; report_files(report): its files
trend_table(trends, model)              a model over its checkpoints (trend.py); its picture is drawn by curves.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from llm_eval.errors import UnknownName
from llm_eval.records import Result
from llm_eval.reporting.checkpoint import from_json as report_from_json
from llm_eval.reporting.checkpoint import report_files, report_text
from llm_eval.reporting.comparison import render_comparison
from llm_eval.reporting.leaderboard import Leaderboard, Selection
from llm_eval.reporting.page import as_html
from llm_eval.reporting.run import run_report
from llm_eval.reporting.text import as_csv, as_markdown, as_table
from llm_eval.specs import SuiteSpec

__all__ = [
    "FORMATS",
    "Leaderboard",
    "Selection",
    "leaderboard_files",
    "render",
    "render_comparison",
    "report_files",
    "report_from_json",
    "report_text",
    "run_report",
]


def _as_json(board: Leaderboard) -> str:
    return json.dumps([_plain(row) for row in board.rows], ensure_ascii=False, indent=2)


def _plain(row: Result) -> dict[str, Any]:
    """A row for JSON, which has no infinity: such a number is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(row).items()}


FORMATS: dict[str, Callable[[Leaderboard, str], str]] = {
    "table": as_table,
    "csv": lambda board, _: as_csv(board),
    "md": as_markdown,
    "html": as_html,
    "json": lambda board, _: _as_json(board),
}
_SUFFIXES = {"csv": "csv", "txt": "table", "md": "md", "html": "html", "json": "json"}


def render(
    rows: Sequence[Result],
    format: str,
    *,
    groups: bool = False,
    subsets: bool = False,
    all_checkpoints: bool = False,
    title: str = "Leaderboard",
) -> str:
    """The leaderboard of `rows` in one of FORMATS, without a newline at its end.

    groups, subsets: a line for each of them too. all_checkpoints: a column for each, not for the newest alone.
    json: all rows of the runs that are shown. Raises UnknownName for another format.
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    selection = Selection(groups=groups, subsets=subsets, all_checkpoints=all_checkpoints)
    return FORMATS[format](Leaderboard.of(rows, selection), title)


def leaderboard_files(rows: Sequence[Result], suite: SuiteSpec) -> dict[str, bytes]:
    """Name and content of each file of a suite's leaderboard: its models and datasets in its order, groups shown.

    Models and datasets of the suite that have no result yet are there too, and said to have none.
    """
    board = Leaderboard.of(rows, Selection(groups=True, models=suite.models, datasets=suite.datasets))
    title = f"{suite.name}: {suite.description}" if suite.description else suite.name
    return {
        f"leaderboard.{suffix}": FORMATS[format](board, title).rstrip("\n").encode() + b"\n"
        for suffix, format in _SUFFIXES.items()
    }
