"""`make demo`: a real Airflow evaluates every checkpoint of the demo model, then everything is stopped again.

Through the scheduler and its workers, as in production: each DAG of the nightly suite that is about the demo model is
triggered once per checkpoint, the leaderboard's own DAG follows, and its table is printed.
`python -m llm_eval.airflow.demo`
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime

from rich.console import Console

from llm_eval import checkpoints, layout
from llm_eval.airflow.stack import Stack
from llm_eval.airflow.up import airflow_home, unwind_on_signals
from llm_eval.catalog import Catalog
from llm_eval.errors import InputError, LlmEvalError, MissingWeights, RunFailed
from llm_eval.remote import ids
from llm_eval.remote.client import FINISHED, AirflowClient, DagRun
from llm_eval.remote.watch import Outcome, wait_for
from llm_eval.settings import Settings
from llm_eval.specs import SuiteSpec

SUITE, MODEL, RUN_NAME = "nightly", "demo", "demo"
RUNS_SECONDS = 600.0
LEADERBOARD_SECONDS = 60.0


def main() -> int:
    console = Console(highlight=False)
    unwind_on_signals()
    # Several small models at once: with more threads than cores they would mostly wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    began = time.monotonic()
    try:
        settings = Settings.from_environment(os.environ)
        catalog = Catalog(settings.catalogs)
        suite, found = catalog.suite(SUITE), trained(catalog, settings)
        with Stack(airflow_home(), tell=console.print) as stack:
            outcomes = evaluate(stack.client, suite, found, console)
        failed = [outcome for outcome in outcomes if outcome.reason]
        if len(failed) < len(outcomes):
            show(settings, suite, console)
        published, seconds = len(outcomes) - len(failed), time.monotonic() - began
        console.print(f"\n{published} of {len(outcomes)} runs published, {seconds:.0f} s in all")
        for outcome in failed:
            console.print(f"failed: {outcome.label}: {outcome.reason}", markup=False)
        return 1 if failed else 0
    except KeyboardInterrupt:
        console.print("interrupted; what was published stays, and so does every answer")
        return 130
    except LlmEvalError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code


def trained(catalog: Catalog, settings: Settings) -> list[str]:
    """Names of the demo model's checkpoints, oldest first."""
    try:
        found = checkpoints.available(catalog.model(MODEL), settings)
    except MissingWeights as error:
        raise InputError(f"the demo model is not there yet; `make demo` trains it first. {error}") from error
    if not found:
        raise InputError(f"the demo model has no checkpoint yet; `make demo` trains them first, in {settings.models}")
    return [checkpoint.name for checkpoint in found]


def evaluate(client: AirflowClient, suite: SuiteSpec, names: list[str], console: Console) -> list[Outcome]:
    """One run per dataset of the suite and checkpoint, all at once; then the leaderboard's run that follows them."""
    dags = {dataset: ids.evaluation_dag_id(ids.Pair(MODEL, dataset)) for dataset in suite.datasets}
    leaderboard = ids.leaderboard_dag_id(suite.name)
    was_paused = {dag_id: client.set_paused(dag_id, False) for dag_id in (*dags.values(), leaderboard)}
    try:
        stop_runs(client, dags.values())
        runs = {
            f"{dataset} · {name}": client.trigger(dag_id, {"checkpoint": name}, RUN_NAME)
            for name in names
            for dataset, dag_id in dags.items()
        }
        console.print(f"Airflow: triggered {len(runs)} runs: {len(names)} checkpoints × {len(dags)} datasets")
        outcomes = wait_for(client, runs, console, RUNS_SECONDS)
        published = [outcome.run for outcome in outcomes if outcome.reason is None]
        if published:
            wait_for_leaderboard(client, leaderboard, published)
        return outcomes
    except KeyboardInterrupt:
        console.print("stopping …")
        client.hurry()  # what is left running ends with Airflow, and the next demo begins by tidying it up
        raise
    finally:
        with suppress(RunFailed):
            for dag_id in (dag_id for dag_id, paused in was_paused.items() if paused):
                client.set_paused(dag_id, True)  # or the nightly schedule would start with the next `make up`


def stop_runs(client: AirflowClient, dag_ids: Collection[str]) -> None:
    """End the demo's unfinished runs: after an interruption, the next start of Airflow would go on with them first."""
    for run in client.runs(dag_ids):
        if run.run_id.startswith(f"{RUN_NAME}__") and run.state not in FINISHED:
            client.stop(run)


def wait_for_leaderboard(client: AirflowClient, dag_id: str, published: list[DagRun]) -> None:
    """Until the leaderboard was rebuilt after the last of these runs. Raises RunFailed if it fails or never comes."""
    tasks = (task for run in published for task in client.tasks(run) if task.task_id == "publish" and task.ended_at)
    last = max(datetime.fromisoformat(task.ended_at or "") for task in tasks)
    limit = time.monotonic() + LEADERBOARD_SECONDS
    while time.monotonic() < limit:
        # Several results may make one rebuild, but one that was asked for after the last of them has seen them all.
        after = [run for run in client.runs([dag_id]) if datetime.fromisoformat(run.queued_at) >= last]
        ended = [run for run in after if run.state in FINISHED]
        if ended:
            if ended[0].state != "success":
                raise RunFailed(f"{dag_id}: {client.why_failed(ended[0])}")
            return
        time.sleep(0.5)
    raise RunFailed(f"{dag_id} did not follow the published results within {LEADERBOARD_SECONDS:g} s")


def show(settings: Settings, suite: SuiteSpec, console: Console) -> None:
    from llm_eval.reporting import render
    from llm_eval.stages.report import suite_rows

    console.print()
    console.print(render(suite_rows(settings, suite), "table", all_checkpoints=True), markup=False, soft_wrap=True)
    folder = layout.leaderboard(settings.root, suite.name)
    console.print(f"\nresults      {layout.results(settings.root, 'summary')} (Parquet)", soft_wrap=True)
    console.print(f"leaderboard  {layout.join(folder, 'leaderboard.html')}", soft_wrap=True)
    console.print("Airflow UI   make up")


if __name__ == "__main__":
    sys.exit(main())
