"""Waits for DAG runs and shows them: one live line per run on a terminal, a plain line per event elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from llm_eval.errors import RunFailed
from llm_eval.remote.client import FINISHED, AirflowClient, DagRun, Task

POLL_SECONDS = 1.0  # each look costs the API server some 50 ms of CPU
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
    client: AirflowClient, runs: Mapping[str, DagRun], console: Console, timeout_seconds: float
) -> list[Outcome]:
    """Outcomes of these runs, named by label, in their order. Raises RunFailed if they take longer than that."""
    waiting = {Key(run.dag_id, run.run_id): label for label, run in runs.items()}
    first = min((run.queued_at for run in runs.values()), default="")
    outcomes: dict[str, Outcome] = {}
    limit = time.monotonic() + timeout_seconds
    with Board(console, list(runs)) as board:
        while waiting:
            if time.monotonic() > limit:
                raise RunFailed(f"still running after {timeout_seconds:g} s: {', '.join(waiting.values())}")
            time.sleep(POLL_SECONDS)
            dag_ids = {key.dag_id for key in waiting}
            if board.is_live:
                board.show(waiting, [task for dag_id in dag_ids for task in client.tasks_since(dag_id, first)])
            for run in client.runs(dag_ids):
                key = Key(run.dag_id, run.run_id)
                if key in waiting and run.state in FINISHED:
                    label = waiting.pop(key)
                    reason = None if run.state == "success" else client.why_failed(run)
                    outcomes[label] = Outcome(label, run, reason)
                    board.finish(outcomes[label])
    return [outcomes[label] for label in runs]


class Board:
    """What the user sees meanwhile."""

    def __init__(self, console: Console, labels: Sequence[str]) -> None:
        self._console, self.is_live = console, console.is_terminal
        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn()]
        columns += [TextColumn("{task.fields[doing]}"), TimeElapsedColumn()]
        self._bars = Progress(*columns, console=console, disable=not self.is_live)
        self._rows: dict[str, TaskID] = {
            label: self._bars.add_task(escape(label), total=None, doing="waiting") for label in labels
        }

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, labels: Mapping[Key, str], tasks: Sequence[Task]) -> None:
        """`tasks`: of any runs; those of runs without a label are passed over."""
        for key, label in labels.items():
            mine = [task for task in tasks if (task.dag_id, task.run_id) == key]
            done = sum(task.state in DONE for task in mine)
            self._bars.update(self._rows[label], completed=done, total=len(mine) or None, doing=doing(mine))

    def finish(self, outcome: Outcome) -> None:
        self._bars.update(self._rows[outcome.label], doing="failed" if outcome.reason else "done")
        if not self.is_live:
            self._console.print(escape(f"{outcome.label}: {told(outcome)}"), highlight=False, soft_wrap=True)


def told(outcome: Outcome) -> str:
    ending = "published" if outcome.reason is None else f"failed in {outcome.reason}"
    return f"{ending} ({outcome.seconds:.1f} s)"


def doing(tasks: Sequence[Task]) -> str:
    """What a run is at: its running tasks, else those about to be."""
    for states in ({"running"}, {"up_for_retry"}, {"queued", "scheduled"}):
        names = Counter(task.task_id for task in tasks if task.state in states)
        if names:
            retry = " (will be tried again)" if "up_for_retry" in states else ""
            return ", ".join(name if count == 1 else f"{name} × {count}" for name, count in names.items()) + retry
    return "waiting"
