"""The leaderboard as text: an aligned table, Markdown, csv. The first columns are those of OpenCompass's summaries."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence

from llm_eval.records import Result
from llm_eval.reporting.figures import half_width, value_with_half_width, written
from llm_eval.reporting.grid import aligned, escaped, markdown
from llm_eval.reporting.leaderboard import ABSENT, Column, Leaderboard, Line, marks
from llm_eval.reporting.notes import notes

HEAD = ("dataset", "version", "metric", "mode")
HOW_TO_READ = "Fractions stand as 0-100. After ±: half of the 95% interval."
_HEADER_CHARACTERS = 24


def as_table(board: Leaderboard, title: str) -> str:
    """Columns aligned on a terminal, also where names are Chinese; footnotes below."""
    head = [*HEAD, *(_folded(column) for column in board.columns), "samples"]
    body = [[*_head(line), *_aligned_cells(board, line), _samples(board, line)] for line in board.lines]
    table = aligned(head, body, left=len(HEAD)) if body else []
    return "\n".join([title, "", *table, *([""] if table else []), *_said(board)])


def as_markdown(board: Leaderboard, title: str) -> str:
    """A table as GitHub renders it; whatever Markdown would read as markup is escaped."""
    head = [*HEAD, *(column.label for column in board.columns), "samples"]
    body = [[*_head(line), *_cells(board, line), _samples(board, line)] for line in board.lines]
    table = markdown(head, body, left=len(HEAD)) if body else []
    said = [f"- {escaped(note, first=True)}" for note in _said(board)]
    return "\n".join([f"## {escaped(title)}", "", *table, *([""] if table else []), *said])


def as_csv(board: Leaderboard) -> str:
    """OpenCompass's columns, then five per model: ci_low, ci_high, samples, failed, limit. Absent values are "-".

    `limit` is the number of samples asked for, empty where all were: a limited result cannot pass for a full one.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    labels = [column.label for column in board.columns]
    further = ("ci_low", "ci_high", "samples", "failed", "limit")
    writer.writerow([*HEAD, *labels, *(f"{label} {name}" for label in labels for name in further)])
    for line in board.lines:
        found = [board.cells.get((line, column)) for column in board.columns]
        values = [written(row.value, row.unit) if row else ABSENT for row in found]
        writer.writerow([*_head(line), *values, *(cell for row in found for cell in _further(row))])
    return text.getvalue().rstrip("\n")


def _further(row: Result | None) -> Sequence[str | int]:
    if row is None:
        return [""] * 5
    low, high = written(row.ci_low, row.unit), written(row.ci_high, row.unit)
    return [low, high, row.samples, row.failed, "" if row.sample_limit is None else row.sample_limit]


def _head(line: Line) -> tuple[str, str, str, str]:
    return line.label, line.version, line.metric_label, line.mode


def _said(board: Leaderboard) -> list[str]:
    return [*notes(board), *([HOW_TO_READ] if board.cells else [])]


def _folded(column: Column) -> str:
    """A long name on several lines, broken after its hyphens, the checkpoint on its own."""
    model, _, checkpoint = column.label.partition("@")
    parts = [model, f"@{checkpoint}"] if checkpoint else [model]
    return "\n".join(line for part in parts for line in textwrap.wrap(part, _HEADER_CHARACTERS))


def _cells(board: Leaderboard, line: Line) -> list[str]:
    found = [board.cells.get((line, column)) for column in board.columns]
    return [value_with_half_width(row) + marks(row) if row else ABSENT for row in found]


def _aligned_cells(board: Leaderboard, line: Line) -> list[str]:
    """Cells of a line, half widths and marks as wide as the widest of their column: digits stand below digits."""
    cells = []
    for column in board.columns:
        mine = [row for (_, other), row in board.cells.items() if other == column]
        width = max((len(half_width(row)) for row in mine), default=0)
        margin = max((len(marks(row)) for row in mine), default=0)
        row = board.cells.get((line, column))
        parts = (written(row.value, row.unit), half_width(row), marks(row)) if row else (ABSENT, "", "")
        cells.append(f"{parts[0]} {parts[1]:>{width}}{parts[2]:<{margin}}" if row else ABSENT + " " * margin)
    return cells


def _samples(board: Leaderboard, line: Line) -> str:
    """How many samples the line's full runs have; the most that any run has where none is full."""
    found = [row for (other, _), row in board.cells.items() if other == line]
    full = [row.samples for row in found if row.sample_limit is None]
    return f"{max(full or [row.samples for row in found]):,}"
