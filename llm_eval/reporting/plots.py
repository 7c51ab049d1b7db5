"""Dots with their 95% intervals, one plot per dataset: where everything stands, as numbers for the page's SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llm_eval.records import Result
from llm_eval.reporting.figures import scaled
from llm_eval.reporting.leaderboard import Column, Leaderboard, Line

ROW_HEIGHT = 34
AXIS_HEIGHT = 26
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Dot:
    """One result. at, low, high: places on the axis in percent of the plot's width; y in pixels."""

    column: Column
    row: Result
    at: float
    low: float
    high: float
    y: float


@dataclass(frozen=True, slots=True)
class Plot:
    """All results of one line. ticks: place in percent and text. height in pixels, the axis included."""

    line: Line
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def axis_y(self) -> int:
        return ROW_HEIGHT * len(self.dots)

    @property
    def height(self) -> int:
        return self.axis_y + AXIS_HEIGHT


def plots(board: Leaderboard) -> Iterator[Plot]:
    """One plot for the first whole line of each dataset and version; results that are no finite number are left out."""
    drawn: set[tuple[str, str]] = set()
    for line in board.lines:
        if line.part is None and (line.dataset, line.version) not in drawn:
            drawn.add((line.dataset, line.version))
            cells = [(c, board.cells[line, c]) for c in board.columns if (line, c) in board.cells]
            finite = [(c, row) for c, row in cells if math.isfinite(row.value + row.ci_low + row.ci_high)]
            if finite:
                yield _plot(line, finite)


def _plot(line: Line, cells: Sequence[tuple[Column, Result]]) -> Plot:
    lows = [scaled(min(row.ci_low, row.value), line.unit) for _, row in cells]
    highs = [scaled(max(row.ci_high, row.value), line.unit) for _, row in cells]
    ticks = nice_ticks(min(lows), max(highs))
    step = ticks[1] - ticks[0]

    def place(value: float) -> float:
        return round(100 * (value - ticks[0]) / (ticks[-1] - ticks[0]), 3)

    dots = tuple(
        Dot(
            column=column,
            row=row,
            at=place(scaled(row.value, line.unit)),
            low=place(scaled(row.ci_low, line.unit)),
            high=place(scaled(row.ci_high, line.unit)),
            y=ROW_HEIGHT * (i + 0.5),
        )
        for i, (column, row) in enumerate(cells)
    )
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return Plot(line, dots, tuple((place(tick), f"{tick:.{decimals}f}") for tick in ticks))


def nice_ticks(low: float, high: float) -> list[float]:
    """Three to eight multiples of 1, 2 or 5 times a power of ten, the first <= low and the last >= high."""
    span = max(high - low, abs(high) * 1e-3, 1e-6)
    magnitude = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next(m * magnitude for m in (1, 2, 5, 10) if span / (m * magnitude) <= _TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]
