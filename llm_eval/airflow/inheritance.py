"""What Airflow's tasks and readers of DAG files have at birth: imported once by the process that forks them.

include/airflow/airflow_local_settings.py calls this as Airflow starts. Without it every task would import us and our
libraries anew, 0.15 CPU seconds, and every task that validates Great Expectations, two more. The price: like Airflow's
plugins, this package is what it was when Airflow started. The catalog, DAG files and what lies under the root are not.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection

from llm_eval import garbage, object_stores
from llm_eval.settings import Settings

OF_DAG_FILES = ("llm_eval.airflow.factory",)
OF_STAGES = (
    "airflow.providers.standard.operators.empty",  # asked of every task whether it is one
    "airflow.sdk.execution_time.supervisor",
    "fsspec.implementations.chained",
    "fsspec.implementations.local",
    "jinja2.ext",
    "llm_eval.stages.plan",
    "pyarrow.compute",
    "pyarrow.parquet",
    "rapidfuzz.distance",
    "rapidfuzz.fuzz",
    "tabulate",  # Airflow's, for reading a DAG file
)
OF_S3 = ("s3fs", "aiobotocore.session")  # 0.4 s of each task, where the root lies there


def bequeath(command: Collection[str]) -> None:
    """Import what the processes will need that are forked from Airflow's component `command` (its command line)."""
    if {"scheduler", "worker"} & set(command):
        from llm_eval.stages import JUDGING, STAGES

        _import((*OF_DAG_FILES, *OF_STAGES, *(f"llm_eval.stages.{stage}" for stage in (*STAGES, *JUDGING))))
        from llm_eval.expectations import engine

        engine.great_expectations()
        if Settings.from_environment(os.environ).root.startswith(object_stores.S3):
            _import(OF_S3)
    elif "dag-processor" in command:
        _import(OF_DAG_FILES)


def _import(modules: Collection[str]) -> None:
    with garbage.frozen():
        for module in modules:
            importlib.import_module(module)
