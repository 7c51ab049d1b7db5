"""Learning curves as a picture: a panel per dataset, its headline over the checkpoints with the 95% interval."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from llm_eval.comparison import Trend
from llm_eval.errors import InputError
from llm_eval.records import Result
from llm_eval.reporting.figures import written
from llm_eval.reporting.leaderboard import LIMITED, marks, printable
from llm_eval.reporting.trend import BETTER, marked, scaled_interval
from llm_eval.results import moment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = ("png", "svg")
_COLUMNS = 3
_PANEL_INCHES = (4.6, 3.1)
_LABELS = 10  # checkpoints named on an axis
_CHARACTERS = 55  # that fit below an axis side by side
_INK, _MUTED, _GRID, _LINE, _BETTER, _WORSE = "#1b1f24", "#5f6873", "#e8ebef", "#1f6feb", "#1a7f37", "#c0341d"
_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": "#c6ccd3",
    "axes.labelcolor": _MUTED,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "text.parse_math": False,
    "svg.hashsalt": "llm-eval",  # the same results, the same bytes
}


def picture_format(address: str) -> str:
    """png or svg, by the name's end. Raises InputError for another."""
    suffix = PurePosixPath(address).suffix.removeprefix(".").lower()
    if suffix not in PICTURES:
        raise InputError(f"--plot {address!r}: the name ends in .png or .svg")
    return suffix


def draw(trends: Sequence[Trend], model: str, format: str, confidence: float = 0.95) -> bytes:
    """The picture as png or svg. Nothing of a screen is needed."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows_of = {_name(step.row): step.row for trend in trends for step in trend.steps}
    names = sorted(rows_of, key=lambda name: moment(rows_of[name].checkpoint_created_at))
    with matplotlib.rc_context(_STYLE):
        columns = 2 if len(trends) == 4 else min(_COLUMNS, len(trends))
        rows = math.ceil(len(trends) / columns)
        spacing = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.04, hspace=0.06)
        figure = Figure(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows + 0.7), layout=spacing)
        figure.suptitle(f"{model} over its checkpoints", x=0.01, ha="left", fontsize=13, fontweight="bold")
        for place, trend in enumerate(trends):
            _panel(figure.add_subplot(rows, columns, place + 1), trend, names, confidence)
        figure.supxlabel(
            "Band: 95% interval.  Triangles: significantly better or worse than the checkpoint before.",
            x=0.01, ha="left", fontsize=8, color=_MUTED,
        )  # fmt: skip
        return _saved(figure, format)


def _name(row: Result) -> str:
    return printable(row.checkpoint or "")


def _saved(figure: Figure, format: str) -> bytes:
    data = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if format == "svg" else {}
    figure.savefig(data, format=format, dpi=160, metadata=metadata, facecolor="white")
    return data.getvalue()


def _panel(axes: Axes, trend: Trend, names: Sequence[str], confidence: float) -> None:
    """names: of the model's checkpoints, oldest first: every panel has the same axis, whatever has no result yet."""
    steps = [step for step in trend.steps if math.isfinite(sum(scaled_interval(step)))]
    places = [names.index(_name(step.row)) for step in steps]
    values, lows, highs = zip(*map(scaled_interval, steps), strict=True) if steps else ((), (), ())
    last = trend.steps[-1].row
    axes.fill_between(places, lows, highs, color=_LINE, alpha=0.2, linewidth=0)
    axes.plot(places, values, color=_LINE, linewidth=1.8, zorder=3)
    for step, place, value in zip(steps, places, values, strict=True):
        mark = marked(step, confidence)
        color = {"": _LINE, BETTER: _BETTER}.get(mark, _WORSE)
        shape = {"": "o", BETTER: "^"}.get(mark, "v")
        face = "white" if LIMITED in marks(step.row) else color
        size = 8 if mark else 5.5
        axes.plot(place, value, shape, color=color, markerfacecolor=face, markersize=size, zorder=4, clip_on=False)
    _axis(axes, trend, names)
    if steps:
        newest = (places[-1], values[-1])
        said = written(steps[-1].row.value, last.unit)
        axes.annotate(said, newest, xytext=(8, 0), textcoords="offset points", va="center", fontsize=8)
    kind = "" if last.higher_is_better else ", lower is better"
    axes.set_title(trend.dataset, loc="left", fontsize=10.5, fontweight="bold", pad=16)
    axes.text(0, 1.025, f"{last.metric}{kind}", transform=axes.transAxes, color=_MUTED, fontsize=8)


def _axis(axes: Axes, trend: Trend, names: Sequence[str]) -> None:
    ticks, shown = _ticks(names)
    slanted = sum(map(len, shown)) > _CHARACTERS
    axes.set_xticks(ticks, shown, rotation=30 if slanted else 0, ha="right" if slanted else "center")
    around = 0.1 * max(1, len(names) - 1)
    axes.set_xlim(-around, len(names) - 1 + around)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if trend.steps[-1].row.unit == "fraction":
        axes.set_ylim(0, 100)
    if trend.chance is not None:
        chance = 100 * trend.chance
        axes.axhline(chance, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            "guessing", (1, chance), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
            ha="right", fontsize=7.5, color=_MUTED,
        )  # fmt: skip


def _ticks(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Places and names on the axis: all where there are few, else evenly spaced and always the newest."""
    every = math.ceil(len(names) / _LABELS) or 1
    places = sorted(range(len(names) - 1, -1, -every))
    return places, [names[place] for place in places]
