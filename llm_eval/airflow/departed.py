"""Pairs that the catalog no longer asks for, while runs of theirs are at work: such a run ends as it was planned.

Airflow forgets a DAG that its file no longer holds, and with it the DAG's runs: they would stay as they are for ever,
and their tasks find no DAG when they begin. So `plan` leaves a note of each pair under the root; the DAG processor goes
on to build the DAG of a noted pair as long as Airflow has unfinished tasks of it, and a worker, which names the DAG it
wants, builds it whatever the catalog says. Only its shape is needed, and that is in the planned run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from airflow.sdk.exceptions import AirflowRuntimeError

from llm_eval import storage
from llm_eval.errors import LlmEvalError
from llm_eval.layout import join
from llm_eval.remote import ids
from llm_eval.settings import Settings
from llm_eval.specs import RunSpec

logger = logging.getLogger(__name__)

NOTES = "planned"
LONG_TASKS = ["infer", "publish"]  # publish is the last, and settled early only where an infer or a judge has failed
SETTLED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def remember(settings: Settings, pair: ids.Pair, run_uri: str) -> None:
    """Note the pair's latest planned run."""
    storage.write_json(_note(settings, pair), {"run_uri": run_uri})


def at_work(settings: Settings, is_mine: Callable[[ids.Pair], bool]) -> list[ids.Pair]:
    """Those of these pairs that have unfinished tasks; the notes of the others are taken away.

    Asks the DAG processor, which asks Airflow's database; empty where nobody can be asked, as in a test.
    """
    found = []
    try:
        for address in storage.files(join(settings.root, NOTES), ".json"):
            pair = ids.pair_of_dag(address.rsplit("/", 1)[-1].removesuffix(".json"))
            if pair is None or not is_mine(pair) or (count := _unfinished(settings, pair)) is None:
                continue
            if count:
                found.append(pair)
            else:
                storage.delete(address)
    except LlmEvalError as error:
        logger.warning("pairs that have left the catalog: %s", error)
    return found


def _unfinished(settings: Settings, pair: ids.Pair) -> int | None:
    run = planned(settings, pair)
    judges = [] if run is None else [ids.judge_task_id(judge.spec.name) for judge in run.judges]
    return unfinished(ids.evaluation_dag_id(pair), [*LONG_TASKS, *judges])


def unfinished(dag_id: str, task_ids: list[str]) -> int | None:
    """How many of these tasks there are in all runs of a DAG that are not settled; None if nobody can say."""
    from airflow.sdk.execution_time import task_runner

    if not hasattr(task_runner, "SUPERVISOR_COMMS"):
        return None
    try:
        runs = task_runner.RuntimeTaskInstance.get_task_states(dag_id, task_ids=task_ids)
    except (AirflowRuntimeError, ValueError, OSError, EOFError) as error:  # no reason to lose all other DAGs
        logger.warning("%s: Airflow does not say whether it is at work: %s", dag_id, error)
        return None
    return sum(state not in SETTLED for states in runs.values() for state in states.values())


def planned(settings: Settings, pair: ids.Pair) -> RunSpec | None:
    """The pair's latest planned run; None if there is no such run to be seen."""
    from llm_eval.stages import load_run

    try:
        note = _note(settings, pair)
        run_uri = storage.read_json(note)["run_uri"] if storage.exists(note) else None
        return None if run_uri is None else load_run(run_uri)
    except (LlmEvalError, KeyError, TypeError) as error:
        logger.warning("pair %s: %s", " × ".join(pair), error)
        return None


def _note(settings: Settings, pair: ids.Pair) -> str:
    return join(settings.root, NOTES, f"{ids.evaluation_dag_id(pair)}.json")
