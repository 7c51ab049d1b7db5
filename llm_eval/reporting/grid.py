"""Rows of cells as text: aligned for a terminal, or as Markdown."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

_MARKDOWN = re.compile(r"[\\`*\[\]<>|~]|(?<!\w)_|_(?!\w)")


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of a table whose columns stand below each other, also where names are Chinese; the first `left` columns are
    texts, the others numbers. A cell of the head may have several lines."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for position, name in enumerate(head):
        table.add_column(
            Text(name), justify="left" if position < left else "right", vertical="bottom", no_wrap=position >= left
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    text = io.StringIO()
    Console(file=text, width=100_000, color_system=None, legacy_windows=False).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """The same as GitHub renders it; whatever Markdown would read as markup is escaped."""
    rule = ["---" if position < left else "---:" for position in range(len(head))]
    return [_markdown_row(head), f"| {' | '.join(rule)} |", *map(_markdown_row, rows)]


def escaped(text: str, first: bool = False) -> str:
    """`text` as Markdown that shows it. first: it begins a line, where a hyphen would begin a list."""
    safe = _MARKDOWN.sub(r"\\\g<0>", text)
    return f"\\{safe}" if first and safe.startswith("-") else safe


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escaped(cell.replace(chr(10), ' ')) for cell in cells)} |"
