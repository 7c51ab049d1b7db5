"""A new checkpoint: finding it, starting everything for it, and waiting until all of it has been published."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowFailException

from llm_eval.airflow.failures import in_airflow_words
from llm_eval.airflow.params import checkpoint_of
from llm_eval.catalog import Catalog
from llm_eval.errors import LlmEvalError, MissingWeights
from llm_eval.remote import ids
from llm_eval.settings import Settings

logger = logging.getLogger(__name__)

_UNFINISHED = ["queued", "running"]
_GRACE = timedelta(minutes=1)  # DAGs of one suite are not started in the same second

LATE, FAILED, ABSENT = "late", "failed", "no result"


class DiscoverOperator(BaseOperator):  # type: ignore[misc]
    """Registers the complete checkpoints of all these models that have appeared. One that fails stops no other."""

    custom_operator_name = "Discover"
    template_fields = ("models",)
    ui_color = "#f0ecf9"

    def __init__(self, *, models: Sequence[str], **keywords: Any) -> None:
        super().__init__(**keywords)
        self.models = list(models)

    def execute(self, context: Mapping[str, Any]) -> dict[str, list[str]]:
        """The names of what was new, by model."""
        from llm_eval import checkpoints

        settings = Settings.from_environment(os.environ)
        catalog = Catalog(settings.catalogs)
        found: dict[str, list[str]] = {}
        problems = []
        for name in self.models:
            try:
                new = checkpoints.discover(catalog.model(name), settings)
            except LlmEvalError as error:
                problems.append(str(error))
                continue
            found |= {name: [checkpoint.name for checkpoint in new]} if new else {}
        logger.info("new checkpoints: %s", found or "none")
        if problems:
            # The next tick looks again; a retry a few seconds later would find the same.
            raise AirflowFailException("; ".join(problems))
        return found


class StartOperator(BaseOperator):  # type: ignore[misc]
    """Starts the DAGs of a model for the checkpoint that this run is about; a retry starts none of them twice.

    An event may bring the checkpoint's `path` along: it is registered then.
    """

    custom_operator_name = "Start"
    template_fields = ("model", "dag_ids")
    ui_color = "#f0ecf9"

    def __init__(self, *, model: str, dag_ids: Sequence[str], **keywords: Any) -> None:
        super().__init__(**keywords)
        self.model, self.dag_ids = model, list(dag_ids)

    def execute(self, context: Mapping[str, Any]) -> list[str]:
        """The id of the runs, which is the same in every DAG."""
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        from llm_eval import checkpoints

        dag_run = context["dag_run"]
        with in_airflow_words():
            name = checkpoint_of(dag_run)
            settings = Settings.from_environment(os.environ)
            model = Catalog(settings.catalogs).model(self.model)
            if path := told_path(context):
                checkpoints.register(model, path, settings, name=name)
            with suppress(MissingWeights):  # what is registered may do; if not, the choice says what is missing
                checkpoints.discover(model, settings)
            checkpoints.choose(model, name, settings)
        run_id = f"checkpoint__{name}__{dag_run.run_after:%Y-%m-%dT%H:%M:%S}"
        for dag_id in self.dag_ids:
            # As a parameter: a partition key is left out on the way from a task to the server (Airflow 3.3).
            answer = SUPERVISOR_COMMS.send(TriggerDagRun(dag_id=dag_id, run_id=run_id, conf={"checkpoint": name}))
            if isinstance(answer, ErrorResponse) and answer.error != ErrorType.DAGRUN_ALREADY_EXISTS:
                raise RuntimeError(f"{dag_id} could not be started: {answer.error} {answer.detail or ''}")
            logger.info("started %s", dag_id)
        return [run_id]


def told_path(context: Mapping[str, Any]) -> str | None:
    """The path that an asset event brought along, the newest one's; None if none did."""
    events = [event for them in (context.get("triggering_asset_events") or {}).values() for event in them]
    paths = [event.extra["path"] for event in events if event.extra and isinstance(event.extra.get("path"), str)]
    return paths[-1] if paths else None


class AllPublished(BaseSensorOperator):  # type: ignore[misc]
    """Waits until every dataset of a suite has been published for the run's checkpoint, holding no slot meanwhile.

    It waits no longer where no run of a dataset is left that could still publish, nor beyond `hours`. Returns what is
    missing: dataset → late, failed or no result.
    """

    custom_operator_name = "Wait"
    template_fields = ("model", "datasets")
    ui_color = "#f9f2e0"

    def __init__(self, *, model: str, datasets: Sequence[str], hours: float, **keywords: Any) -> None:
        # The time-out is ours: what is late is named in a report, and does not fail it.
        super().__init__(mode="reschedule", timeout=timedelta(hours=hours) + timedelta(days=1), **keywords)
        self.model, self.datasets, self.hours = model, list(datasets), hours

    def poke(self, context: Mapping[str, Any]) -> bool | PokeReturnValue:
        from llm_eval import results

        dag_run, ti, now = context["dag_run"], context["ti"], datetime.now(UTC)
        began = dag_run.run_after if dag_run.run_type == "scheduled" else dag_run.start_date
        with in_airflow_words():
            settings = Settings.from_environment(os.environ)
            published = results.evaluated(settings.root, self.model, checkpoint_of(dag_run))
        waiting = {d for d in self.datasets if d not in published or published[d] < began - _GRACE}
        dags = {dataset: ids.evaluation_dag_id(ids.Pair(self.model, dataset)) for dataset in waiting}
        active = {d for d, dag_id in dags.items() if ti.get_dr_count(dag_id=dag_id, states=_UNFINISHED) > 0}
        is_over = now > began + timedelta(hours=self.hours)
        if waiting and not is_over and (active or now < dag_run.start_date + _GRACE):
            logger.info("waiting for %s", ", ".join(sorted(waiting)))
            return False
        missing = {}
        for dataset in sorted(waiting):
            if dataset in active:
                missing[dataset] = LATE
            elif ti.get_dr_count(dag_id=dags[dataset], run_ids=[dag_run.run_id], states=["failed"]) > 0 or (
                # A backfill's runs have ids of their own.
                results.was_left(settings.root, self.model, dataset, checkpoint_of(dag_run), began - _GRACE)
            ):
                missing[dataset] = FAILED
            elif dataset not in published:
                missing[dataset] = ABSENT
        return PokeReturnValue(is_done=True, xcom_value=missing)
