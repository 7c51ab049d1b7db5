"""The leaderboard as data: which results stand in which line and column, and what must be said about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_eval import results
from llm_eval.records import Result
from llm_eval.results import moment, pair_of, reference

WHOLE = "all"

LIMITED, FAILED, OVERRIDDEN, ABSENT = "*", "!", "~", "-"


@dataclass(frozen=True, slots=True)
class Column:
    """A model, at one of its checkpoints where it has any."""

    model: str
    checkpoint: str | None = None

    @property
    def label(self) -> str:
        return f"{self.model}@{printable(self.checkpoint)}" if self.checkpoint else self.model


@dataclass(frozen=True, slots=True)
class Line:
    """What is compared within one line: nothing that differs in any of these is comparable.

    dataset: a reference, such as `ceval_ppl`. part: a group or subset, None for the whole dataset.
    """

    dataset: str
    version: str
    metric: str
    mode: str
    part: str | None
    aggregation: str
    judge: str | None
    unit: str
    higher_is_better: bool

    @property
    def label(self) -> str:
        return f"{self.dataset}/{printable(self.part)}" if self.part is not None else self.dataset

    @property
    def metric_label(self) -> str:
        return f"{self.metric} ({self.judge})" if self.judge else self.metric


@dataclass(frozen=True, slots=True)
class Selection:
    """What a leaderboard shows beside a line per dataset and metric, and in which order.

    models, datasets: these first and in this order, also where they have no result yet; the others follow by name.
    """

    groups: bool = False
    subsets: bool = False
    all_checkpoints: bool = False
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Lines × columns of results. `rows` are all rows of the runs that are shown; `unseen` datasets have no result."""

    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[Line, Column], Result]
    rows: tuple[Result, ...]
    unseen: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Sequence[Result], selection: Selection) -> Leaderboard:
        """From published rows, of whatever runs: the newest run counts, and a full one before a limited one."""
        chosen = results.chosen(rows)
        if not selection.all_checkpoints:
            newest = results.newest_checkpoints(chosen)
            chosen = [row for row in chosen if newest[row.model] == row.checkpoint]
        cells: dict[tuple[Line, Column], Result] = {}
        for run in _runs(chosen):
            for row in _shown(run, selection):
                cells[_line(row), Column(row.model, row.checkpoint)] = row
        lines = dict.fromkeys(line for line, _ in sorted(cells, key=lambda cell: _place(cell[0], selection.datasets)))
        seen = {line.dataset for line in lines}
        return cls(
            lines=tuple(lines),
            columns=_columns(chosen, selection.models),
            cells=cells,
            rows=tuple(chosen),
            unseen=tuple(name for name in selection.datasets if name not in seen),
        )

    def full_samples(self, row: Result) -> int | None:
        """How many samples a full run of the same thing has, None where no full run of it is shown."""
        line = _line(row)
        known = (r for (other, _), r in self.cells.items() if other == line and r.sample_limit is None)
        return max((r.samples for r in known), default=None)

    def best(self, line: Line) -> float | None:
        """The best value of a line among full runs; None where fewer than two are compared."""
        found = [row for (other, _), row in self.cells.items() if other == line and row.sample_limit is None]
        pick = max if line.higher_is_better else min
        return pick(row.value for row in found) if len(found) > 1 else None


def printable(text: str) -> str:
    """`text` without control characters: names of subsets come from data, and a terminal obeys escape sequences."""
    return "".join(c if c.isprintable() else " " for c in text)


def marks(row: Result) -> str:
    """`!` some samples failed, `*` asked only some of the samples, `~` run with changed catalog values."""
    found = {
        FAILED: row.failed > 0,
        LIMITED: row.sample_limit is not None,
        OVERRIDDEN: bool(row.params.get("overrides")),
    }
    return "".join(mark for mark, holds in found.items() if holds)


def whole_and_parts(run: Sequence[Result]) -> list[Result]:
    """Rows of one run that a reader sees: the whole and the groups in the run's own kind of mean, all subsets.

    A run publishes macro and micro means side by side; its headline row says which of the two it goes by.
    """
    kind = next((row.aggregation for row in run if row.headline), None)
    of_parts = "macro" if kind == "groups" else kind
    kinds: dict[tuple[str, str], set[str]] = {}
    for row in run:
        kinds.setdefault((row.metric, row.subset), set()).add(row.aggregation)
    wanted = {key: of_parts if key[1] != WHOLE else kind for key in kinds}
    return [
        row
        for row in run
        if row.aggregation == (want := wanted[row.metric, row.subset]) or want not in kinds[row.metric, row.subset]
    ]


def is_group(row: Result) -> bool:
    return row.subset != WHOLE and row.aggregation != "samples"


def _runs(rows: Iterable[Result]) -> list[list[Result]]:
    runs: dict[tuple[str | None, ...], list[Result]] = {}
    for row in rows:
        runs.setdefault((*pair_of(row), row.run_id), []).append(row)
    return list(runs.values())


def _shown(run: Sequence[Result], selection: Selection) -> list[Result]:
    """Rows of one run in the order of its lines: each metric's whole, its groups, its subsets; the headline first."""
    seen = whole_and_parts(run)
    metrics = dict.fromkeys(row.metric for row in sorted(seen, key=lambda row: not row.headline))
    shown: list[Result] = []
    for metric in metrics:
        mine = [row for row in seen if row.metric == metric]
        shown += [row for row in mine if row.subset == WHOLE]
        shown += [row for row in mine if selection.groups and is_group(row)]
        shown += [row for row in mine if selection.subsets and row.subset != WHOLE and not is_group(row)]
    return shown


def _line(row: Result) -> Line:
    return Line(
        dataset=reference(row),
        version=row.dataset_version,
        metric=row.metric,
        mode=row.mode,
        part=None if row.subset == WHOLE else row.subset,
        aggregation=row.aggregation,
        judge=row.judge,
        unit=row.unit,
        higher_is_better=row.higher_is_better,
    )


def _place(line: Line, datasets: tuple[str, ...]) -> tuple[int, str, str]:
    """Sorting is stable, so that within one version lines keep the order of their run."""
    return _rank(line.dataset, datasets), line.dataset, line.version


def _rank(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)


def _columns(rows: Sequence[Result], models: tuple[str, ...]) -> tuple[Column, ...]:
    created = {Column(row.model, row.checkpoint): moment(row.checkpoint_created_at) for row in rows}
    evaluated = {column.model for column in created}
    missing = [Column(model) for model in models if model not in evaluated]
    beginning = moment(None)
    return tuple(
        sorted(
            [*created, *missing],
            key=lambda c: (_rank(c.model, models), c.model, created.get(c, beginning), c.checkpoint or ""),
        )
    )
