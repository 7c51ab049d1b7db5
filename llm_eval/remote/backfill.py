"""Backfills of a whole suite: Airflow knows one per DAG; this starts one for each dataset and follows them all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from llm_eval.errors import InputError
from llm_eval.remote.client import FINISHED, AirflowClient, DagRun, RequestRefused

_NOTHING, _RUNNING = 422, 409
_SEEN_SECONDS = 60.0
_MADE_SECONDS = 600.0  # Airflow makes all of a backfill's runs before it answers

Reprocess = Literal["none", "failed", "completed"]


@dataclass(frozen=True, slots=True)
class Range:
    """Checkpoints created from `begin` to `end`, both included, and how to go over them, in Airflow's own words."""

    begin: datetime
    end: datetime
    conf: Mapping[str, Any]
    reprocess: Reprocess = "none"
    max_active_runs: int = 4
    backwards: bool = False

    def body(self, dag_id: str) -> dict[str, Any]:
        return {
            "dag_id": dag_id,
            "from_date": self.begin.isoformat(),
            "to_date": self.end.isoformat(),
            "dag_run_conf": dict(self.conf),
            "reprocess_behavior": self.reprocess,
            "max_active_runs": self.max_active_runs,
            "run_backwards": self.backwards,
        }


def dry_run(client: AirflowClient, dag_id: str, wanted: Range) -> list[str]:
    """Names of the checkpoints that a backfill would make runs of, in its order; [] if there is none in the range."""
    try:
        answer = client.call("POST", "/api/v2/backfills/dry_run", wanted.body(dag_id))
    except RequestRefused as error:
        if error.status == _NOTHING:
            return []
        raise
    return [run["partition_key"] for run in answer["backfills"]]


def start(client: AirflowClient, dag_ids: Sequence[str], wanted: Range) -> dict[str, DagRun]:
    """Starts a backfill of each DAG, and un-pauses it: the runs that were made, by DAG and checkpoint.

    Raises InputError if one of the DAGs has a backfill at work already; nothing is started then.
    """
    for dag_id in dag_ids:
        client.set_paused(dag_id, False)
    before = {run.run_id for run in _runs(client, dag_ids)}
    started: list[int] = []
    for dag_id in dag_ids:
        try:
            started.append(_start(client, dag_id, wanted))
        except RequestRefused as error:
            for number in started:
                client.call("PUT", f"/api/v2/backfills/{number}/cancel")
            if error.status == _RUNNING:
                raise InputError(
                    f"{dag_id} has a backfill at work already, and Airflow allows one per DAG. Wait for it, or cancel "
                    "it (in the UI: the DAG's Backfills). Nothing was started."
                ) from error
            raise
    return {f"{run.dag_id} · {run.partition_key}": run for run in _runs(client, dag_ids) if run.run_id not in before}


def _start(client: AirflowClient, dag_id: str, wanted: Range) -> int:
    """The backfill's number. One whose runs have all ended is at work for Airflow for another half a minute.

    Where the answer was lost, `call` has asked again, and what is at work already is what was asked for.
    """
    before = {one["id"] for one in _backfills(client, dag_id)}
    limit = time.monotonic() + _SEEN_SECONDS
    while True:
        try:
            return int(client.call("POST", "/api/v2/backfills", wanted.body(dag_id), seconds=_MADE_SECONDS)["id"])
        except RequestRefused as error:
            if error.status == _RUNNING and (ours := [i for i in _backfills(client, dag_id) if i["id"] not in before]):
                return int(ours[0]["id"])
            ended = all(run.state in FINISHED for run in _runs(client, [dag_id]))
            if error.status != _RUNNING or not ended or time.monotonic() > limit:
                raise
            time.sleep(1.0)


def stop(client: AirflowClient, dag_ids: Sequence[str]) -> None:
    """Cancel the backfills of these DAGs that are at work, and end their runs."""
    for dag_id in dag_ids:
        for one in _backfills(client, dag_id):
            if one["completed_at"] is None:
                client.call("PUT", f"/api/v2/backfills/{one['id']}/cancel")
    for run in _runs(client, dag_ids):
        if run.state not in FINISHED:
            client.stop(run)


def _backfills(client: AirflowClient, dag_id: str) -> list[Any]:
    return client.all("backfills", "/api/v2/backfills", dag_id=dag_id)


def _runs(client: AirflowClient, dag_ids: Sequence[str]) -> list[DagRun]:
    return client.runs(dag_ids, run_type="backfill")
