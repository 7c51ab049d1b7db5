"""What the tests of faults do to a running Airflow, and how they tell that its results do not show it."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pyarrow.parquet as pq

from llm_eval.airflow.processes import members
from llm_eval.airflow.stack import Stack
from llm_eval.remote.client import FINISHED, AirflowClient, DagRun

QUESTIONS = 40
SECONDS_PER_REPLY = 0.5  # forty of them are four parts
WAIT_SECONDS = 300.0
OF_THE_RUN = {"run_id", "model", "logical_date", "evaluated_at", "infer_seconds", "peak_memory_gib"}


def until(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """The condition's first true value."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"not in {seconds:g} s: {what}"
        time.sleep(0.2)
    return value


@dataclass(frozen=True)
class Slow:
    """A scripted model that takes its time and notes each request that it is asked; its run, once it has one."""

    name: str
    root: Path
    journal: Path
    dataset: str = "forty"

    @property
    def dag_id(self) -> str:
        return f"eval__{self.name}__{self.dataset}"

    def spec(self, **backend: Any) -> dict[str, Any]:
        answers = {"kind": "scripted", "replies": ["A", "B", "C"], "journal": str(self.journal)}
        return {"backend": {**answers, "seconds_per_reply": SECONDS_PER_REPLY, **backend}, "chat": False}

    def asked(self) -> list[str]:
        return self.journal.read_text().split() if self.journal.exists() else []

    def answered(self) -> set[str]:
        """Requests whose responses are on disk."""
        parts = sorted((self.root / "responses" / self.name).glob("*/part-*.parquet"))
        return {id for part in parts for id in pq.read_table(part, columns=["request_id"])["request_id"].to_pylist()}

    def wait_for_a_part(self) -> None:
        until(self.answered, f"{self.name}: a part of the answers")

    def rows(self) -> list[dict[str, Any]]:
        """What is published of this model, all tables, without what is a run's own."""
        files = sorted((self.root / "results").glob(f"*/model={self.name}/*/*.parquet"))
        rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
        return [{key: value for key, value in row.items() if key not in OF_THE_RUN} for row in rows]


@dataclass(frozen=True)
class Loss:
    """What a fault has cost: asked, but not on disk when everything that had asked was dead."""

    model: Slow
    requests: frozenset[str]

    def was_all_that_was_asked_twice(self) -> bool:
        times = Counter(self.model.asked())
        return max(times.values()) <= 2 and {id for id, count in times.items() if count > 1} <= self.requests


def loss(model: Slow) -> Loss:
    """To be called once nobody asks, and before anybody does again."""
    return Loss(model, frozenset({*model.asked()} - model.answered()))


def finished(client: AirflowClient, run: DagRun, meanwhile: Callable[[], Any] = lambda: None) -> str:
    """How the run ended. `meanwhile`: what is done before each look."""

    def look() -> str | None:
        meanwhile()
        state = _state(client, run)
        return state if state in FINISHED else None

    state: str = until(look, f"the end of {run.dag_id}")
    return state


def _state(client: AirflowClient, run: DagRun) -> str:
    return next(r.state for r in client.runs([run.dag_id]) if r.run_id == run.run_id)


def infer_process(client: AirflowClient, run: DagRun) -> psutil.Process:
    """The process of the infer task; its parent is its supervisor."""

    def pid() -> int | None:
        place = f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/infer/0"
        task = client.call("GET", place)
        return task["pid"] if task["state"] == "running" else None

    return psutil.Process(until(pid, f"infer of {run.dag_id}"))


def tries(client: AirflowClient, run: DagRun) -> dict[str, int]:
    """How many tries each task took that took more than one."""
    return {task.task_id: task.try_number for task in client.tasks(run) if task.try_number > 1}


def kill(stack: Stack, *names: str) -> None:
    """kill -9 of every process of these components (of all, and of the guard, if none is named), all at once."""
    sessions = {c.process.pid for c in stack._components if not names or c.name in names}
    victims: set[psutil.Process] = set()
    found = {*members(sessions)}
    if not names:
        assert stack._guard is not None
        found.add(psutil.Process(stack._guard._process.pid))
    while found:  # some may have started another one before they were stopped
        _send(found, signal.SIGSTOP)  # nobody may see another one die
        victims |= found
        found = {*members(sessions)} - victims
    _send(victims, signal.SIGKILL)
    gone(*victims)


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def gone(*processes: psutil.Process) -> None:
    """Wait until they are dead; their parents may leave them as zombies."""
    until(lambda: all(_is_dead(process) for process in processes), f"the end of {processes}")


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write to this SQLite database."""
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def fill(path: Path) -> None:
    """A file that takes all the space that its disk has left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(512)):
            pass
    assert shutil.disk_usage(path.parent).free < 4096
