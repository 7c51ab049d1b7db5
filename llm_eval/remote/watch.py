"""Waits for DAG runs and shows them: one live line per run on a terminal, a plain line per event elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from llm_eval.errors import RunFailed
from llm_eval.remote.client import FINISHED, AirflowClient, DagRun, Task

POLL_SECONDS = 1.0  # each look costs the API server some 50 ms of CPU
LATE = timedelta(minutes=1)  # that a run's end may be seen after its moment
BOARD_ROWS = 24  # a terminal's height
DONE = frozenset({"success", "skipped"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended; `reason` is None for one that succeeded."""

    label: str
    run: DagRun
    reason: str | None

    @property
    def seconds(self) -> float:
        """From the request to the end, queueing included."""
        ended, queued = (datetime.fromisoformat(moment) for moment in (self.run.ended_at or "", self.run.queued_at))
        return (ended - queued).total_seconds()


class Key(NamedTuple):
    dag_id: str
    run_id: str


def wait_for(
    client: AirflowClient, runs: Mapping[str, DagRun], console: Console, timeout_seconds: float | None
) -> list[Outcome]:
    """Outcomes of these runs, named by label, in their order. Raises RunFailed if they take longer than that.

    timeout_seconds: None to wait for as long as it takes.
    """
    waiting = {Key(run.dag_id, run.run_id): label for label, run in runs.items()}
    first = min((run.run_after for run in runs.values()), default="")
    since = min((datetime.fromisoformat(run.queued_at) for run in runs.values()), default=None)
    outcomes: dict[str, Outcome] = {}
    limit = time.monotonic() + (math.inf if timeout_seconds is None else timeout_seconds)
    board: Board | Tally = Board(console, list(runs)) if len(runs) <= BOARD_ROWS else Tally(console, runs)
    with board.bars:
        while waiting:
            if time.monotonic() > limit:
                raise RunFailed(f"still running after {timeout_seconds:g} s: {', '.join(waiting.values())}")
            time.sleep(POLL_SECONDS)
            dag_ids = {key.dag_id for key in waiting}
            if board.is_live and isinstance(board, Board):
                board.show(waiting, [task for dag_id in dag_ids for task in client.tasks_since(dag_id, first)])
            assert since is not None
            for run in client.runs(dag_ids, end_date_gte=since.isoformat()):
                since = max(since, datetime.fromisoformat(run.ended_at or run.queued_at) - LATE)
                key = Key(run.dag_id, run.run_id)
                if key in waiting and run.state in FINISHED:
                    label = waiting.pop(key)
                    reason = None if run.state == "success" else client.why_failed(run)
                    outcomes[label] = Outcome(label, run, reason)
                    board.finish(outcomes[label])
    return [outcomes[label] for label in runs]


class Tally:
    """What the user sees of many runs: one line per DAG, with how many of its runs have ended."""

    def __init__(self, console: Console, runs: Mapping[str, DagRun]) -> None:
        self._console, self.is_live = console, console.is_terminal
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn()]
        self.bars = Progress(
            *columns,
            TextColumn("{task.fields[failed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self.is_live,
        )
        totals = Counter(run.dag_id for run in runs.values())
        self._rows = {dag_id: self.bars.add_task(dag_id, total=n, failed="") for dag_id, n in totals.items()}
        self._failed: Counter[str] = Counter()
        self._ended, self._total = 0, len(runs)

    def finish(self, outcome: Outcome) -> None:
        dag_id = outcome.run.dag_id
        self._ended += 1
        self._failed[dag_id] += outcome.reason is not None
        failed = f"{self._failed[dag_id]} failed" if self._failed[dag_id] else ""
        self.bars.update(self._rows[dag_id], advance=1, failed=failed)
        if not self.is_live:
            line = f"{self._ended} of {self._total}: {outcome.label}: {told(outcome)}"
            self._console.print(escape(line), highlight=False, soft_wrap=True)


class Board:
    """What the user sees meanwhile."""

    def __init__(self, console: Console, labels: Sequence[str]) -> None:
        self._console, self.is_live = console, console.is_terminal
        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn()]
        columns += [TextColumn("{task.fields[doing]}"), TimeElapsedColumn()]
        self.bars = Progress(*columns, console=console, disable=not self.is_live)
        self._rows: dict[str, TaskID] = {
            label: self.bars.add_task(escape(label), total=None, doing="waiting") for label in labels
        }

    def show(self, labels: Mapping[Key, str], tasks: Sequence[Task]) -> None:
        """`tasks`: of any runs; those of runs without a label are passed over."""
        for key, label in labels.items():
            mine = [task for task in tasks if (task.dag_id, task.run_id) == key]
            done = sum(task.state in DONE for task in mine)
            self.bars.update(self._rows[label], completed=done, total=len(mine) or None, doing=doing(mine))

    def finish(self, outcome: Outcome) -> None:
        self.bars.update(self._rows[outcome.label], doing="failed" if outcome.reason else "done")
        if not self.is_live:
            self._console.print(escape(f"{outcome.label}: {told(outcome)}"), highlight=False, soft_wrap=True)


def told(outcome: Outcome) -> str:
    ending = "done" if outcome.reason is None else f"failed in {outcome.reason}"
    return f"{ending} ({outcome.seconds:.1f} s)"


def doing(tasks: Sequence[Task]) -> str:
    """What a run is at: its running tasks, else those about to be."""
    for states in ({"running"}, {"up_for_retry"}, {"queued", "scheduled"}):
        names = Counter(task.task_id for task in tasks if task.state in states)
        if names:
            retry = " (will be tried again)" if "up_for_retry" in states else ""
            return ", ".join(name if count == 1 else f"{name} × {count}" for name, count in names.items()) + retry
    return "waiting"
