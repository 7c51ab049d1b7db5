"""A home of its own for Airflow, decided before anything imports it: import this first."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

from tests.conftest import CHECKOUT

assert "airflow" not in sys.modules, "something imported airflow before its home was decided"
HOME = tempfile.mkdtemp(prefix="llm-eval-airflow-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT="300",  # a busy machine reads a file of many DAGs for long
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__PLUGINS_FOLDER=str(CHECKOUT / "plugins"),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
)
