"""When somebody is told: a run failed or is late, a gate did not let a checkpoint pass, a leaderboard changed.

Who runs what. A failed run: Airflow's DAG processor, once per run and also when its task was killed (`FailureNotice`,
a DAG's on_failure_callback). A late run: the triggerer (`late`, a deadline alert of the DAG). The other two: the task
that found out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from airflow.sdk import conf
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from llm_eval.airflow.channels import tell
from llm_eval.airflow.failures import KILLED, REASON_KEY
from llm_eval.airflow.messages import Message, few, hide, secrets_in
from llm_eval.specs import Channel, Event, SuiteSpec

logger = logging.getLogger(__name__)

Facts = tuple[tuple[str, str], ...]

FINISHED = frozenset({"success", "failed"})
TOLD_KEY = "told"  # the XCom of a gate that has told of a drop
REASON_SECONDS = 3.0  # a task tells its reason just after Airflow has heard that it failed
ENDINGS = {
    "timed_out": "the run took longer than its time limit",
    "all_tasks_deadlocked": "no task of the run can go on",
}


def listening(suites: Iterable[SuiteSpec], event: Event) -> tuple[Channel, ...]:
    """Every channel of these suites that is told of such an event, each once."""
    return tuple(dict.fromkeys(c for suite in suites for c in suite.notify if event in c.events))


def run_link(dag_id: str, run_id: str) -> str | None:
    """Address of a run's page in Airflow's UI; None where `[api] base_url` does not say where that is."""
    base = conf.get("api", "base_url", fallback=None)  # Airflow ships it without a value
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id, safe='')}" if base else None


@dataclass(frozen=True, slots=True)
class FailureNotice:
    """A DAG's on_failure_callback. `title` says what failed; `facts` what it is about.

    A gate that did not let a checkpoint pass has told those who ask for that event itself.
    """

    channels: tuple[Channel, ...]
    title: str
    facts: Facts

    def __call__(self, context: Mapping[str, Any]) -> None:
        known = has_told(context.get("ti"))
        channels = tuple(c for c in self.channels if not (known and "gate" in c.events))
        with_checkpoint = (*self.facts, *checkpoint_of(context.get("dag_run")))
        link = run_link(context["dag"].dag_id, context["run_id"])
        if channels:
            tell(channels, Message(self.title, with_checkpoint, few([why(context)]), link))


def has_told(task: Any) -> bool:
    """Whether the failed task is a gate that has told why."""
    if task is None:
        return False
    try:
        return bool(task.xcom_pull(task_ids=task.task_id, key=TOLD_KEY))
    except Exception as error:  # noqa: BLE001 - told twice is better than not at all
        logger.warning("%s may have told of its failure, or not: %s", task.task_id, error)
        return False


def failure_notice(suites: Sequence[SuiteSpec], title: str, facts: Facts) -> FailureNotice | None:
    """What a DAG of these suites calls when a run fails; None if nobody wants to know."""
    channels = listening(suites, "failure")
    return FailureNotice(channels, title, facts) if channels else None


def why(context: Mapping[str, Any]) -> str:
    """The failed task, and its own words. Of several, the one that failed last: Airflow names no other."""
    task = context.get("ti")
    if task is None:
        return ENDINGS.get(context.get("reason", ""), "no task of it failed")
    index = task.map_index if task.map_index is not None else -1
    name = task.task_id if index < 0 else f"{task.task_id}[{index}]"
    return hide(f"{name}: {_reason(task, index)}", secrets_in(os.environ))


def _reason(task: Any, index: int) -> str:
    limit = time.monotonic() + REASON_SECONDS
    while True:
        try:
            reason = task.xcom_pull(task_ids=task.task_id, key=REASON_KEY, map_indexes=index)
        except Exception as error:  # noqa: BLE001 - the message matters more than this part of it
            logger.warning("no reason for %s: %s", task.task_id, error)
            return "its log says why"
        if reason is not None or time.monotonic() > limit:
            return str(reason or KILLED)
        time.sleep(0.5)


def checkpoint_of(dag_run: Any) -> Facts:
    """The checkpoint that a run was asked for, as a fact; nothing where it was left to the run."""
    if dag_run is None:
        return ()
    run = dag_run if isinstance(dag_run, Mapping) else dag_run.model_dump(include={"partition_key", "conf"})
    checkpoint = run.get("partition_key") or (run.get("conf") or {}).get("checkpoint")
    return (("checkpoint", str(checkpoint)),) if checkpoint else ()


def late_alerts(suites: Sequence[SuiteSpec], title: str, facts: Facts) -> list[DeadlineAlert] | None:
    """One alert for each time limit that these suites set; None if they set none."""
    asking: dict[float, list[SuiteSpec]] = defaultdict(list)
    for suite in suites:
        if suite.late_after_hours is not None:
            asking[suite.late_after_hours].append(suite)
    return [_late_alert(hours, listening(asked, "late"), title, facts) for hours, asked in asking.items()] or None


def _late_alert(hours: float, channels: Sequence[Channel], title: str, facts: Facts) -> DeadlineAlert:
    told = {
        "channels": [channel.model_dump(mode="json") for channel in channels],
        "title": title,
        "facts": dict(facts),
        "hours": hours,
    }
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,  # partitioned runs have no logical date
        interval=timedelta(hours=hours),
        # Not a SyncCallback: in the executor, Airflow 3.3 refuses it every connection that is in the database.
        callback=AsyncCallback(late, kwargs=told),
    )


async def late(
    channels: Sequence[Mapping[str, Any]],
    title: str,
    facts: Mapping[str, str],
    hours: float,
    context: Mapping[str, Any],
) -> None:
    """Tell of a run that is not done in time. What it gets is what Airflow stores: JSON."""
    run = context["dag_run"]
    if run["state"] in FINISHED:  # Airflow takes back the alert of a run that succeeds, not of one that failed
        logger.info("%s: %s before its time was up, nobody is told that it is late", run["dag_run_id"], run["state"])
        return
    line = f"not done {hours:.3g} h after it was queued at {run['queued_at']}; it is {run['state']}"
    about = (*facts.items(), *checkpoint_of(run))
    message = Message(title, about, few([line]), run_link(run["dag_id"], run["dag_run_id"]))
    # In a thread: nothing may hold up the triggerer's event loop.
    await asyncio.to_thread(tell, [Channel.model_validate(channel) for channel in channels], message)


def notify_gate(suite: SuiteSpec, model: str, checkpoint: str | None, reasons: Sequence[str], link: str | None) -> None:
    """Tell that a checkpoint did not pass the suite's gate. `reasons`: one line per dataset that dropped."""
    facts = (("suite", suite.name), ("model", model), *((("checkpoint", checkpoint),) if checkpoint else ()))
    tell(
        listening([suite], "gate"), Message(f"{model} did not pass the gate of {suite.name}", facts, few(reasons), link)
    )


def notify_leaderboard(suite: SuiteSpec, changes: Sequence[str], link: str | None) -> None:
    """Tell what changed in a suite's leaderboard; nothing where nothing did."""
    if changes:
        message = Message(f"the leaderboard of {suite.name} changed", (("suite", suite.name),), few(changes), link)
        tell(listening([suite], "leaderboard"), message)
