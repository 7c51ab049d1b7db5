"""What is new in a leaderboard: values and places that moved since it was last written.

Only headline values of full runs count: a run with a limit is a try, and ranks nobody.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from llm_eval.records import Result
from llm_eval.reporting.figures import scaled, written
from llm_eval.reporting.leaderboard import Column, Leaderboard, Line, Selection
from llm_eval.specs import SuiteSpec


class Standing(NamedTuple):
    """A model in one line of the leaderboard. `place` counts from 1; equal values share one."""

    column: Column
    value: float
    place: int


def rows_of(values: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Rows as a leaderboard's JSON file holds them. What another version of this code left out or added is None or
    gone: places need only what has always been there."""
    names = [field.name for field in fields(Result)]
    rows: list[dict[str, Any]] = [{name: row.get(name) for name in names} for row in values]
    for row in rows:
        row["value"] = math.nan if row["value"] is None else row["value"]
    return [Result(**row) for row in rows]


def changes(before: Sequence[Result], after: Sequence[Result], suite: SuiteSpec) -> list[str]:
    """One line per model whose value or place differs, in the leaderboard's order; new leaders say so."""
    old, new = standings(before, suite), standings(after, suite)
    return [
        _told(line, standing, places, old.get(line, {}))
        for line, places in new.items()
        for standing in places.values()
        if old.get(line, {}).get(standing.column.model) != standing
    ]


def standings(rows: Sequence[Result], suite: SuiteSpec) -> dict[Line, dict[str, Standing]]:
    """Each line's models by name, best first."""
    board = Leaderboard.of(rows, Selection(models=suite.models, datasets=suite.datasets))
    values: dict[Line, dict[Column, float]] = defaultdict(dict)
    for (line, column), row in board.cells.items():
        if row.headline and row.sample_limit is None and math.isfinite(row.value):
            values[line][column] = row.value
    return {line: _ranked(line, values[line]) for line in board.lines if line in values}


def _ranked(line: Line, values: Mapping[Column, float]) -> dict[str, Standing]:
    ordered = sorted(values.items(), key=lambda item: item[1], reverse=line.higher_is_better)
    places = [value for _, value in ordered]
    return {c.model: Standing(c, value, places.index(value) + 1) for c, value in ordered}


def _told(line: Line, now: Standing, places: Mapping[str, Standing], old: Mapping[str, Standing]) -> str:
    before = old.get(now.column.model)
    parts = [f"{line.label} ({line.metric_label}): {now.column.label} {written(now.value, line.unit)}"]
    if before is None:
        parts.append("new")
    elif before.value != now.value or before.column != now.column:
        difference = scaled(now.value, line.unit) - scaled(before.value, line.unit)
        parts.append(f"before {written(before.value, line.unit)} ({difference:+.2f})")
    led = [standing.column.model for standing in old.values() if standing.place == 1]
    if now.place == 1 and led and now.column.model not in led:
        parts.append(f"leads now, before {', '.join(led)}")
    elif len(places) > 1:
        moved = before is not None and before.place != now.place
        parts.append(f"place {now.place} of {len(places)}" + (f", before {before.place}" if moved and before else ""))
    return ", ".join(parts)
