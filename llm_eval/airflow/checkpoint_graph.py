"""The DAGs around a model's checkpoints: finding new ones, starting everything for one, and reporting on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from airflow.sdk import DAG, Asset, CronTriggerTimetable, PartitionedAssetTimetable, chain

from llm_eval import layout
from llm_eval.airflow.arrivals import AllPublished, DiscoverOperator, StartOperator
from llm_eval.airflow.failures import RETRIES
from llm_eval.airflow.notify import failure_notice
from llm_eval.airflow.timetables import CheckpointTimetable, Tick
from llm_eval.airflow.verdicts import CheckpointReportOperator, GateOperator
from llm_eval.remote import ids
from llm_eval.specs import ModelSpec, SuiteSpec

POKE, LONGEST_POKE = timedelta(seconds=5), timedelta(minutes=1)


def checkpoint_schedule(root: str, model: str, suites: Sequence[SuiteSpec]) -> CheckpointTimetable:
    """Every time that any of the suites asks for, for the newest checkpoint; none if none has a schedule. UTC."""
    ticks = dict.fromkeys(Tick(suite.schedule, suite.only_new) for suite in suites if suite.schedule)
    return CheckpointTimetable(layout.checkpoints(root, model), model, tuple(ticks))


def build_report_dag(suite: SuiteSpec, model: ModelSpec, root: str) -> DAG:
    """`report__{suite}__{model}`: one run reports on one checkpoint, once all datasets of the suite have published it.

    On the schedule of the evaluations themselves, so that a night, a backfill or an event starts both.
    """
    facts = (("suite", suite.name), ("model", model.name))
    with DAG(
        ids.report_dag_id(suite.name, model.name),
        description=f"Report on each checkpoint of {model.name}: {suite.name}",
        schedule=checkpoint_schedule(root, model.name, [suite]),
        catchup=False,
        max_active_runs=16,  # waiting costs nothing
        tags={"llm-eval", "report", f"suite:{suite.name}", f"model:{model.name}"},
        default_args=RETRIES,
        on_failure_callback=failure_notice([suite], f"the report on {model.name} failed", facts),
    ) as dag:
        wait = AllPublished(
            task_id="wait",
            model=model.name,
            datasets=suite.datasets,
            hours=suite.report_after_hours,
            poke_interval=POKE,
            exponential_backoff=True,
            max_wait=LONGEST_POKE,
        )
        report = CheckpointReportOperator(task_id="report", suite=suite.name, model=model.name, missing=wait.output)
        gate = [GateOperator(task_id="gate", suite=suite.name, model=model.name)] if suite.gate else []
        chain(wait, report, *gate)
    return dag


def build_checkpoint_dag(model: ModelSpec, suites: Sequence[SuiteSpec], dag_ids: Sequence[str]) -> DAG:
    """`checkpoint__{model}`: an event of the model's asset, its partition key a checkpoint, starts `dag_ids`."""
    asset = Asset(name=ids.checkpoint_asset_name(model.name), uri=ids.checkpoint_asset_uri(model.name))
    title = f"the evaluations of a new checkpoint of {model.name} could not be started"
    with DAG(
        ids.checkpoint_dag_id(model.name),
        description=f"Starts every evaluation of {model.name} for a new checkpoint",
        schedule=PartitionedAssetTimetable(assets=asset),
        catchup=False,
        tags={"llm-eval", "checkpoints", f"model:{model.name}"},
        default_args=RETRIES,
        on_failure_callback=failure_notice(suites, title, (("model", model.name),)),
    ) as dag:
        StartOperator(task_id="start", model=model.name, dag_ids=dag_ids)
    return dag


def build_discovery_dag(models: Sequence[str], cron: str) -> DAG:
    """`checkpoints`: looks for new checkpoints of all models whose YAML says where they appear."""
    with DAG(
        ids.DISCOVERY_DAG,
        description="Registers new checkpoints; the next tick of each suite evaluates the newest",
        schedule=CronTriggerTimetable(cron, timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=1),
        tags={"llm-eval", "checkpoints"},
        default_args=RETRIES,
    ) as dag:
        DiscoverOperator(task_id="discover", models=models)
    return dag
