"""What we ask of a running Airflow over REST: un-pause, trigger, look, and read why something failed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from llm_eval.errors import RunFailed

APPEAR_SECONDS = 180.0  # a DAG file is parsed within seconds of the start, on a busy machine within two minutes
PAGE = 100  # Airflow's [api] maximum_page_limit cuts what is above it, without a word
AT_ONCE = 50  # names in one address
FINISHED = frozenset({"success", "failed"})
PAUSES: tuple[float, ...] = (0.5, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class DagRun:
    dag_id: str
    run_id: str
    state: str
    queued_at: str
    started_at: str | None
    ended_at: str | None
    run_after: str
    partition_key: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: str | None
    ended_at: str | None


class AirflowClient:
    """Speaks to one API server, logged in."""

    def __init__(self, url: str, user: str, password: str) -> None:
        # trust_env: a proxy from the environment must not see what goes to this machine.
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        self._pauses = PAUSES
        token = self.call("POST", "/auth/token", {"username": user, "password": password})["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, *, seconds: float | None = None, **query: Any) -> Any:
        """The answer's JSON; a server in trouble is asked again. Raises RunFailed that says what Airflow answered.

        seconds: how long to wait for an answer, where that is not 30.
        """
        patience = self._http.timeout if seconds is None else httpx.Timeout(seconds)
        for pause in (*self._pauses, None):
            try:
                answer = self._http.request(method, path, json=body, params=query or None, timeout=patience)
            except httpx.HTTPError as error:
                if pause is None:
                    raise RunFailed(f"{method} {self._http.base_url}{path}: no answer from Airflow: {error}") from error
            else:
                if not answer.is_error:
                    return answer.json() if answer.content else None
                if pause is None or not answer.is_server_error:
                    what = f"{method} {path}: Airflow answered {answer.status_code}: {answer.text[:500]}"
                    raise RequestRefused(answer.status_code, what)
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def hurry(self) -> None:
        """From now on ask once, and wait two seconds: for someone who has pressed Ctrl-C."""
        self._http.timeout = httpx.Timeout(2.0)
        self._pauses = ()

    def import_pools(self, pools: Mapping[str, Mapping[str, Any]]) -> None:
        """Create the pools that are not there; those that are keep their sizes, which an operator may have changed."""
        there = {pool["name"] for pool in self.all("pools", "/api/v2/pools")}
        for name, pool in pools.items():
            if name not in there:
                self.call("POST", "/api/v2/pools", {"name": name, **pool})

    def without_room(self, dag_ids: Iterable[str]) -> list[str]:
        """Tasks of these DAGs that their pool can never hold, in words: Airflow lets them wait without a reason."""
        slots = {pool["name"]: pool["slots"] for pool in self.all("pools", "/api/v2/pools")}
        found = []
        for dag_id in dag_ids:
            self.is_paused(dag_id)  # waits until Airflow has seen its file
            for task in self.call("GET", f"/api/v2/dags/{dag_id}/tasks")["tasks"]:
                needs, pool = int(task["pool_slots"] or 1), task["pool"]
                if pool not in slots or 0 <= slots[pool] < needs:  # -1: no limit
                    has = f"which has {slots[pool]}" if pool in slots else "which is not there"
                    found.append(f"{dag_id}: {task['task_id']} takes {needs} slots of the pool {pool!r}, {has}")
        return found

    def set_paused(self, dag_id: str, paused: bool) -> bool:
        """Pause or un-pause a DAG, waiting until Airflow has seen its file; returns what it was before."""
        before = self.is_paused(dag_id)
        if before != paused:
            self.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})
        return before

    def is_paused(self, dag_id: str) -> bool:
        """Whether a DAG is paused, waiting until Airflow has seen its file. Raises RunFailed if it never does."""
        limit = time.monotonic() + APPEAR_SECONDS
        while True:
            try:
                return bool(self.call("GET", f"/api/v2/dags/{dag_id}")["is_paused"])
            except RequestRefused as error:
                if error.status != httpx.codes.NOT_FOUND or time.monotonic() > limit:
                    raise RunFailed(f"DAG {dag_id} did not appear. {self.import_errors() or error}") from error
                time.sleep(0.3)

    def import_errors(self) -> str:
        """Import errors of DAG files, as Airflow shows them; "" if there are none."""
        errors = self.all("import_errors", "/api/v2/importErrors")
        return "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors)

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, name: str = "manual", partition_key: str | None = None
    ) -> DagRun:
        """Ask for a run; `name` begins its id."""
        # A name of our own makes it safe to ask again after a lost answer. The scheduler serves waiting tasks of equal
        # weight in the order of this date, so runs that were asked for first come first.
        now = datetime.now(UTC).isoformat()
        run_id = f"{name}__{now}_{uuid.uuid4().hex[:8]}"
        body: dict[str, Any] = {"dag_run_id": run_id, "logical_date": now, "conf": dict(conf or {})}
        if partition_key is not None:
            body |= {"partition_key": partition_key, "logical_date": None}
        try:
            return _dag_run(self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body))
        except RequestRefused as error:
            if error.status != httpx.codes.CONFLICT:
                raise
            return next(run for run in self.runs([dag_id]) if run.run_id == run_id)

    def runs(self, dag_ids: Collection[str], **filters: Any) -> list[DagRun]:
        """All runs of these DAGs, newest first. (By GET: every POST leaves a line in Airflow's audit log.)"""
        wanted, found = sorted(dag_ids), []
        for first in range(0, len(wanted), AT_ONCE):
            some = wanted[first : first + AT_ONCE]
            # The pattern finds names that contain one of these, too.
            runs = self.all("dag_runs", "/api/v2/dags/~/dagRuns", dag_id_pattern="|".join(some), **filters)
            found += [_dag_run(run) for run in runs if run["dag_id"] in some]
        return sorted(found, key=lambda run: run.queued_at or "", reverse=True)

    def all(self, name: str, path: str, **query: Any) -> list[Any]:
        """Every page of a list, which an answer holds under `name`."""
        found: list[Any] = []
        while True:
            answer = self.call("GET", path, limit=PAGE, offset=len(found), **query)
            found += answer[name]
            if not answer[name] or len(found) >= answer["total_entries"]:
                return found

    def stop(self, run: DagRun) -> None:
        """Fail a run, and with it the tasks that are at work."""
        self.call("PATCH", _address(run.dag_id, run.run_id), {"state": "failed"})

    def tasks(self, run: DagRun) -> list[Task]:
        return self._tasks(_address(run.dag_id, run.run_id))

    def tasks_since(self, dag_id: str, moment: str) -> list[Task]:
        """Tasks of all runs of a DAG that were due at that moment or later: one request, however many runs."""
        return self._tasks(f"/api/v2/dags/{dag_id}/dagRuns/~", run_after_gte=moment)

    def _tasks(self, address: str, **query: Any) -> list[Task]:
        return [
            Task(t["dag_id"], t["dag_run_id"], t["task_id"], t["map_index"], t["try_number"], t["state"], t["end_date"])
            for t in self.all("task_instances", f"{address}/taskInstances", **query)
        ]

    def last_words(self, task: Task) -> str:
        """The last line of a task's log that is more than a fold mark: why it failed."""
        place = f"{_address(task.dag_id, task.run_id)}/taskInstances/{task.task_id}/logs/{task.try_number}"
        log = self.call("GET", place, map_index=task.map_index)["content"]
        lines = [line["event"] if isinstance(line, dict) else str(line) for line in log]
        return next((line for line in reversed(lines) if line and not line.startswith("::")), "its log is empty")

    def why_failed(self, run: DagRun) -> str:
        """Which task of a run failed, and its own reason; the earliest one, as the others follow from it."""
        failed = [task for task in self.tasks(run) if task.state == "failed"]
        if not failed:
            return "no task of it failed: was it stopped by hand?"
        first = min(failed, key=lambda t: t.ended_at or "")
        name = first.task_id if first.map_index < 0 else f"{first.task_id}[{first.map_index}]"
        return f"{name}: {self.last_words(first)}"


class RequestRefused(RunFailed):
    """Airflow answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _address(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _dag_run(run: Mapping[str, Any]) -> DagRun:
    return DagRun(
        run["dag_id"],
        run["dag_run_id"],
        run["state"],
        run["queued_at"] or run["start_date"] or run["run_after"],  # a backfill's runs were never asked for one by one
        run["start_date"],
        run["end_date"],
        run["run_after"],
        run["partition_key"],
    )
