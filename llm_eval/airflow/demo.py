"""`make demo`: a real Airflow evaluates every checkpoint of the demo model, then everything is stopped again.

Through the scheduler and its workers, as in production: the checkpoints are registered, each DAG of the nightly suite
that is about the demo model is backfilled over them, the report on each checkpoint and the leaderboard follow, and the
learning curve is shown.
`python -m llm_eval.airflow.demo`
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import datetime

from rich.console import Console

from llm_eval import checkpoints, layout
from llm_eval.airflow.stack import Stack
from llm_eval.airflow.up import airflow_home, unwind_on_signals
from llm_eval.catalog import Catalog
from llm_eval.errors import InputError, LlmEvalError, MissingWeights, RunFailed
from llm_eval.remote import backfill, ids
from llm_eval.remote.client import FINISHED, AirflowClient
from llm_eval.remote.watch import Outcome, wait_for
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, SuiteSpec

SUITE, MODEL = "nightly", "demo"
RUNS_SECONDS = 1800.0  # twelve runs are minutes; a lost worker of Celery may cost ten more
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
            show(settings, suite, found[-1], console, "make up")
        published, seconds = len(outcomes) - len(failed), time.monotonic() - began
        console.print(f"\n{published} of {len(outcomes)} runs done, {seconds:.0f} s in all")
        for outcome in failed:
            console.print(f"failed: {outcome.label}: {outcome.reason}", markup=False)
        return 1 if failed else 0
    except KeyboardInterrupt:
        console.print("interrupted; what was published stays, and so does every answer")
        return 130
    except LlmEvalError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code


def trained(catalog: Catalog, settings: Settings) -> list[Checkpoint]:
    """The demo model's checkpoints, oldest first, all of them registered."""
    model = catalog.model(MODEL)
    try:
        checkpoints.discover(model, settings)
        found = checkpoints.available(model, settings)
    except MissingWeights as error:
        raise InputError(f"the demo model is not there yet; `make demo` trains it first. {error}") from error
    if not found:
        raise InputError(f"the demo model has no checkpoint yet; `make demo` trains them first, in {settings.models}")
    return found


def evaluate(client: AirflowClient, suite: SuiteSpec, found: list[Checkpoint], console: Console) -> list[Outcome]:
    """A backfill over the checkpoints for each dataset and for the report; then the leaderboard that follows them."""
    dag_ids = [ids.evaluation_dag_id(ids.Pair(MODEL, dataset)) for dataset in suite.datasets]
    dag_ids.append(ids.report_dag_id(suite.name, MODEL))
    leaderboard = ids.leaderboard_dag_id(suite.name)
    was_paused = {dag_id: client.is_paused(dag_id) for dag_id in (*dag_ids, leaderboard)}
    try:
        client.set_paused(leaderboard, False)
        before = {run.run_id for run in client.runs([leaderboard])}
        backfill.stop(client, dag_ids)
        begin, end = (datetime.fromisoformat(found[i].created_at) for i in (0, -1))
        wanted = backfill.Range(begin, end, {}, reprocess="completed", max_active_runs=len(found))
        runs = backfill.start(client, dag_ids, wanted)
        console.print(f"Airflow: backfill of {len(found)} checkpoints, {len(runs)} runs of {len(dag_ids)} DAGs")
        outcomes = wait_for(client, runs, console, RUNS_SECONDS)
        if any(o.reason is None and ids.pair_of_dag(o.run.dag_id) for o in outcomes):
            wait_for_leaderboard(client, leaderboard, before)
        return outcomes
    except KeyboardInterrupt:
        console.print("stopping …")
        client.hurry()  # what is left running ends with Airflow, and the next demo begins by tidying it up
        raise
    finally:
        with suppress(RunFailed):
            for dag_id in (dag_id for dag_id, paused in was_paused.items() if paused):
                client.set_paused(dag_id, True)  # or the nightly schedule would start with the next `make up`


def wait_for_leaderboard(client: AirflowClient, dag_id: str, before: set[str]) -> None:
    """Until the runs that the results have asked for are over; not those `before`. Raises RunFailed if one fails."""
    limit = time.monotonic() + LEADERBOARD_SECONDS
    while time.monotonic() < limit:
        asked = [run for run in client.runs([dag_id]) if run.run_id not in before]
        if asked and all(run.state in FINISHED for run in asked):
            if asked[0].state != "success":
                raise RunFailed(f"{dag_id}: {client.why_failed(asked[0])}")
            return
        time.sleep(0.5)
    raise RunFailed(f"{dag_id} did not follow the published results within {LEADERBOARD_SECONDS:g} s")


def show(settings: Settings, suite: SuiteSpec, newest: Checkpoint, console: Console, ui: str) -> None:
    """ui: where Airflow's is, or how to get it."""
    from llm_eval.comparison import trends
    from llm_eval.reporting.trend import trend_table
    from llm_eval.stages.trend import draw_curves

    found = trends(settings.root, MODEL, suite.datasets)
    report = layout.checkpoint_report(settings.root, suite.name, MODEL, newest.name)
    places = {
        "learning curve": draw_curves(settings, MODEL, found)[0],
        "report": layout.join(report, "report.html"),
        "leaderboard": layout.join(layout.leaderboard(settings.root, suite.name), "leaderboard.html"),
        "results": f"{layout.results(settings.root, 'summary')} (Parquet)",
        "Airflow UI": ui,
    }
    console.print(f"\n{trend_table(found, MODEL)}\n", markup=False, soft_wrap=True)
    for what, where in places.items():
        console.print(f"{what:<14}  {where}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
