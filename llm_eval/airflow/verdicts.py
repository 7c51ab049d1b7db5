"""The end of a checkpoint's way: its report, and whether it may pass the suite's gate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from llm_eval.airflow.failures import in_airflow_words
from llm_eval.airflow.notify import TOLD_KEY, notify_gate, run_link
from llm_eval.airflow.params import checkpoint_of
from llm_eval.catalog import Catalog
from llm_eval.settings import Settings


class CheckpointReportOperator(BaseOperator):  # type: ignore[misc]
    """Writes the report on the run's checkpoint; `missing`: datasets that will not come, and why."""

    custom_operator_name = "Report"
    template_fields = ("suite", "model", "missing")
    ui_color = "#f9f2e0"

    def __init__(self, *, suite: str, model: str, missing: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.suite, self.model, self.missing = suite, model, missing

    def execute(self, context: Mapping[str, Any]) -> None:
        from llm_eval.stages.checkpoint_report import checkpoint_report

        with in_airflow_words():
            settings = Settings.from_environment(os.environ)
            suite = Catalog(settings.catalogs).suite(self.suite)
            checkpoint_report(settings, suite, self.model, checkpoint_of(context["dag_run"]), self.missing or {})


class GateOperator(BaseOperator):  # type: ignore[misc]
    """Fails, and with it the report's run, if the checkpoint has lost more than the suite's gate allows."""

    custom_operator_name = "Gate"
    template_fields = ("suite", "model")
    ui_color = "#f9e6e0"

    def __init__(self, *, suite: str, model: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.suite, self.model = suite, model

    def execute(self, context: Mapping[str, Any]) -> None:
        from llm_eval.comparison import gate
        from llm_eval.stages.checkpoint_report import read_checkpoint_report

        with in_airflow_words():
            settings = Settings.from_environment(os.environ)
            suite = Catalog(settings.catalogs).suite(self.suite)
            report = read_checkpoint_report(settings, suite.name, self.model, checkpoint_of(context["dag_run"]))
        if suite.gate is not None and (reasons := gate(report, suite.gate)):
            run = context["dag_run"]
            notify_gate(suite, self.model, checkpoint_of(run), reasons, run_link(run.dag_id, run.run_id))
            context["ti"].xcom_push(key=TOLD_KEY, value=True)
            raise AirflowFailException("; ".join(reasons))  # trying again would measure the same
