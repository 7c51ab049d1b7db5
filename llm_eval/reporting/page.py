"""The leaderboard as one page: no scripts, nothing loaded, everything that comes from names or data escaped."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from llm_eval.reporting import figures
from llm_eval.reporting.leaderboard import FAILED, LIMITED, Leaderboard, marks
from llm_eval.reporting.notes import notes
from llm_eval.reporting.plots import plots
from llm_eval.results import moment

if TYPE_CHECKING:
    from jinja2 import Environment


def pages() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def as_html(board: Leaderboard, title: str) -> str:
    newest = max((moment(row.evaluated_at) for row in board.rows), default=None)
    return (
        pages()
        .get_template("leaderboard.html")
        .render(
            board=board,
            title=title,
            newest=f"{newest.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if newest else None,
            notes=notes(board),
            plots=list(plots(board)),
            marks=marks,
            figures=figures,
            FAILED=FAILED,
            LIMITED=LIMITED,
        )
    )
