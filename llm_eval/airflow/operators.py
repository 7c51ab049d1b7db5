"""The tasks of an evaluation: plan, and one class for every stage after it.

A light stage runs in the task's own process, which Airflow has just forked for it; one that loads weights runs as a
child process (child.py) or in a pod (pods.py). All of them call the same `run_stage`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from llm_eval import layout
from llm_eval.airflow import departed
from llm_eval.airflow.failures import failure, in_airflow_words
from llm_eval.airflow.params import of_partition, run_params
from llm_eval.airflow.service_keys import connections_of
from llm_eval.catalog import Catalog
from llm_eval.child import Child, child_environment, die_with_parent, stage_arguments, stage_command
from llm_eval.errors import InputError, StillWaiting, StorageError
from llm_eval.layout import WHOLE, Layout, Shard
from llm_eval.remote import ids
from llm_eval.settings import Settings
from llm_eval.specs import ModelSpec, RunSpec

logger = logging.getLogger(__name__)

SOON_SECONDS = 10
RUN_URI_KEY = "run_uri"  # the XCom that plan leaves beside its return value


class StageName:
    """The stage as the name that the UI shows. A mapped task has no instance yet: what is mapped is infer, and judge,
    which has operators of its own."""

    def __get__(self, operator: Any, owner: type) -> str:
        return "Infer" if operator is None else str(operator.stage).title()


class PlanOperator(BaseOperator):  # type: ignore[misc]
    """Writes run.json from the catalog and the run's parameters.

    Returns the shards of the infer stage, which is mapped over them; the run's address is the XCom `run_uri`.
    """

    custom_operator_name = "Plan"
    template_fields = ("model", "dataset", "suite")
    ui_color = "#e8eef9"

    def __init__(self, *, pair: ids.Pair, suite: str | None, judges: Sequence[str] = (), **keywords: Any) -> None:
        """judges: those that the DAG has tasks for."""
        super().__init__(**keywords)
        self.model, self.dataset = pair
        self.suite, self.judges = suite, list(judges)

    def execute(self, context: Mapping[str, Any]) -> list[str]:
        from llm_eval.stages.plan import Wish, plan

        pair, dag_run = ids.Pair(self.model, self.dataset), context["dag_run"]
        logical_date = context.get("logical_date")  # absent for runs started by REST, an asset or a partition
        with in_airflow_words():
            settings = Settings.from_environment(os.environ)
            wish = Wish(
                model=pair.model,
                dataset=pair.dataset,
                params=of_partition(run_params(dag_run.conf, context["params"]), dag_run.partition_key),
                suite=self.suite,
                run_id=ids.run_id_of(dag_run.run_id, pair),
                logical_date=logical_date.isoformat() if logical_date else None,
            )
            catalog = Catalog(settings.catalogs)
            with connections_of(*_models(catalog, pair.model, self.judges)):
                run = plan(catalog, settings, wish, datetime.now(UTC))
            _refuse_other_judges(run, self.judges)
            departed.remember(settings, pair, Layout(settings.root, run).run_uri)
        context["ti"].xcom_push(key=RUN_URI_KEY, value=Layout(settings.root, run).run_uri)
        return [str(Shard(index, run.shards)) for index in range(run.shards)]


class StageOperator(BaseOperator):  # type: ignore[misc]
    """Runs one stage of a planned run, or one shard of it.

    `own_process`: as a child process, for what loads weights. Assets that it has as outlets are told of the result.
    """

    custom_operator_name = StageName()
    template_fields: tuple[str, ...] = ("run_uri", "shard")
    ui_color = "#eef6ee"
    _child: Child | None = None

    def __init__(
        self,
        *,
        stage: str,
        run_uri: Any,
        shard: Any = str(WHOLE),
        judge: str = "",
        own_process: bool = False,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.stage, self.run_uri, self.shard, self.judge = stage, run_uri, shard, judge
        self.own_process = own_process

    def execute(self, context: Mapping[str, Any]) -> None:
        self._perform(context)

    def resume(self, context: Mapping[str, Any], event: Any = None) -> None:
        """After having waited for what was not there yet."""
        self._perform(context)

    def _perform(self, context: Mapping[str, Any]) -> None:
        settings = Settings.from_environment(os.environ)
        if has_supervisor():
            die_with_parent()  # or it would go on asking beside the next try of itself
        with in_airflow_words():
            check_run(self.run_uri)
        try:
            self._run(context, settings)
        except AirflowException:
            with in_airflow_words():
                check_run(self.run_uri)  # what seems a mistake may be a root that has just gone
            raise

    def _run(self, context: Mapping[str, Any], settings: Settings) -> None:
        if self.stage not in ("infer", "judge"):
            self._run_here(context, settings)
            return
        from llm_eval.stages import load_run

        with in_airflow_words():
            run = load_run(self.run_uri)
            model = run.model if self.stage == "infer" else run.judge(self.judge).model
        with connections_of(model):
            self._run_here(context, settings)

    def _run_here(self, context: Mapping[str, Any], settings: Settings) -> None:
        if self.own_process:
            self._run_child(settings)
            return
        from llm_eval.stages import run_stage

        with in_airflow_words():
            shard = Shard.parse(self.shard)
            try:
                report = run_stage(self.stage, self.run_uri, settings, shard=shard, judge=self.judge, waits=False)
            except StillWaiting as waiting:
                self._come_again(waiting)
        for asset in self.outlets:
            told = {key: report.counts[key] for key in ("value", "samples", "failed") if key in report.counts}
            context["outlet_events"][asset].extra = {**told, RUN_URI_KEY: self.run_uri}

    def _come_again(self, waiting: StillWaiting) -> NoReturn:
        """Gives the worker's slot back for so long. Only this task looks, so no key has to reach the triggerer."""
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        logger.info("%s; coming again in %g s", waiting, waiting.seconds)
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=waiting.seconds)), method_name="resume")
        raise AssertionError  # defer has raised

    def _run_child(self, settings: Settings) -> None:
        arguments = stage_arguments(self.stage, self.run_uri, self.shard, self.judge)
        self._child = Child(stage_command(os.environ, arguments), child_environment(os.environ, settings))
        ending = self._child.follow()
        if ending.exit_code != 0:
            raise failure(ending.exit_code, ending.reason)

    def on_kill(self) -> None:
        if self._child is not None:
            self._child.kill()


def _models(catalog: Catalog, model: str, judges: Sequence[str]) -> list[ModelSpec]:
    """All who will be asked. Raises InputError."""
    return [catalog.model(model), *(catalog.model(catalog.judge(judge).model) for judge in judges)]


def _refuse_other_judges(run: RunSpec, tasks: Sequence[str]) -> None:
    """Raises InputError where a run has other judges than its DAG has tasks for."""
    judges = [judge.spec.name for judge in run.judges]
    if judges != list(tasks):
        raise InputError(
            f"{run.dataset_reference} is judged by {', '.join(judges) or 'nobody'} in this run, and the DAG has tasks "
            f"for {', '.join(tasks) or 'no judge'}. Tasks follow the catalog: make a variant of the dataset instead of "
            "an override, or, if the catalog has just been changed, start again when Airflow has read it."
        )


class JudgeOperator(StageOperator):
    """Asks one judge, or one shard of what it is asked."""

    custom_operator_name = "Judge"
    ui_color = "#f3eaf7"


def has_supervisor() -> bool:
    """Whether this process is a task's own, forked by a supervisor: not so in `dag.test()` and in our tests."""
    from airflow.sdk.execution_time import task_runner

    return type(getattr(task_runner, "SUPERVISOR_COMMS", None)) is task_runner.CommsDecoder


def check_run(run_uri: str) -> None:
    """Raises StorageError, which is tried again, if the run cannot be seen: Airflow knows that it was planned."""
    from llm_eval import storage

    if not storage.exists(address := layout.join(run_uri, "run.json")):
        raise StorageError(f"{address}: the run was planned, but is not to be seen. Is the root there, and the same?")


class PublishOperator(StageOperator):
    """Publishes, and has the leaderboards of the suites rebuilt that ask for the pair."""

    template_fields = (*StageOperator.template_fields, "leaderboards")

    def __init__(self, *, leaderboards: Sequence[str], **keywords: Any) -> None:
        super().__init__(stage="publish", **keywords)
        self.leaderboards = list(leaderboards)

    def execute(self, context: Mapping[str, Any]) -> None:
        super().execute(context)
        if context["dag_run"].partition_key is not None:
            start_soon(context["ti"], self.leaderboards, datetime.now(UTC))


def start_soon(ti: Any, dag_ids: Sequence[str], now: datetime) -> None:
    """Start each DAG at the next ten seconds, once for all who ask until then; not where a run of it waits already.

    What a run for a checkpoint announces reaches only DAGs that are partitioned themselves (Airflow 3.3), and a
    leaderboard is about all checkpoints.
    """
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    at = datetime.fromtimestamp((int(now.timestamp()) // SOON_SECONDS + 1) * SOON_SECONDS, UTC)
    for dag_id in dag_ids:
        if ti.get_dr_count(dag_id=dag_id, states=["queued"]) > 0:
            continue  # it will see what has just been published, be its DAG paused until next week
        asked = TriggerDagRun(dag_id=dag_id, run_id=f"results__{at:%Y-%m-%dT%H:%M:%S}", run_after=at)
        answer = SUPERVISOR_COMMS.send(asked)
        if isinstance(answer, ErrorResponse) and answer.error != ErrorType.DAGRUN_ALREADY_EXISTS:
            logger.warning("%s was not started: %s %s", dag_id, answer.error, answer.detail or "")


class ReportOperator(BaseOperator):  # type: ignore[misc]
    """Rebuilds one suite's leaderboard from everything published."""

    custom_operator_name = "Report"
    template_fields = ("suite",)
    ui_color = "#f9f2e0"

    def __init__(self, *, suite: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.suite = suite

    def execute(self, context: Mapping[str, Any]) -> None:
        from llm_eval.stages.report import report

        with in_airflow_words():
            settings = Settings.from_environment(os.environ)
            suite = Catalog(settings.catalogs).suite(self.suite)
            news = report(settings, suite)
        if news and suite.notify:
            from llm_eval.airflow.notify import notify_leaderboard, run_link

            notify_leaderboard(suite, news, run_link(context["dag_run"].dag_id, context["dag_run"].run_id))
