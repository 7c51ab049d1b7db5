"""What every component of a stack is told: environment variables, each with its reason."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from llm_eval import settings
from llm_eval.airflow.deployment import LOCAL, Deployment
from llm_eval.airflow.home import PASSWORDS_FILE, USER

SEARCH_PATHS: Mapping[str, tuple[Path, ...]] = {
    "PATH": (Path(sys.executable).parent,),
    "PYTHONPATH": (settings.HOME, settings.HOME / "include" / "airflow"),
}
LOCK_SECONDS = 30  # how long a busy machine's processes wait for SQLite's lock; its default of 5 is soon over
API_LOCK_SECONDS = 5
TALKATIVE = ("airflow.models.dag", "airflow.serialization.definitions.dag")  # a line for each DAG in every cycle
_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


class Ports(NamedTuple):
    """Of 127.0.0.1: where the UI and the REST API listen, and what tasks speak to."""

    api: int
    tasks: int


def airflow_settings(home: Path, ports: Ports, deployment: Deployment = LOCAL) -> dict[str, str]:
    """Everything that Airflow is told, as environment variables.

    `parallelism` stays at its default: a smaller one makes the scheduler burn time over a backlog. Pools bound what
    runs at once. The default one, of light tasks, does with two slots what `parallelism` does: 78 CPU seconds for 20
    runs at once instead of 56. Models on the CPU have a pool of their own.
    """
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.HOME / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(settings.HOME / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": str(4 * (os.cpu_count() or 1)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS_FILE),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url(ports.tasks)}/execution/",
        _DATABASE: sqlite(home),
        # Longer than an answer waits for SQLite's lock. A worker that gives up (by default after 5 s) asks again, while
        # its first request is still carried out; the second deferral or retry is then refused, and the task fails.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports.api),
        "AIRFLOW__API__BASE_URL": url(ports.api),
        "AIRFLOW__API__WORKERS": "1",
        # With the default of 1 s a run of seven tasks waits seven seconds for nothing.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        # A killed task gives back its pool slot, and is tried again, after a minute instead of five: its supervisor
        # tells of it every five seconds, and the longest that a busy SQLite keeps anyone waiting is half of this.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        # And after a killed scheduler, as soon as another one knows: what this asks the database is next to nothing.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        # A thousand DAGs take the DAG processor some 27 CPU seconds a cycle: with the default of 30 s a core for ever.
        # A changed catalog file is seen within a minute; so is a checkpoint that an `only_new` suite waits for.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "120",
        "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "180",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": ",".join(f"{name}=WARNING" for name in TALKATIVE),
        "GX_ANALYTICS_ENABLED": "false",
        "TOKENIZERS_PARALLELISM": "false",
        **deployment.environment(),
    }


def own_settings(home: Path, ports: Ports, deployment: Deployment) -> dict[str, dict[str, str]]:
    """What some components are told in other words than the others.

    Tasks have an API server of their own, because every writing request of the UI or of the REST API waits for SQLite's
    lock in its server's event loop (Airflow 3.3: `action_logging` commits there), and the request of a task cannot give
    the lock back without the loop: in one process each would wait for the other, until the longest wait is over. Two
    writing requests of users can still do so, therefore the shorter wait.
    """
    api = {} if deployment.database is not None else {_DATABASE: sqlite(home, API_LOCK_SECONDS)}
    return {"api-server": api, "task-api": {"AIRFLOW__API__PORT": str(ports.tasks)}}


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def sqlite(home: Path, lock_seconds: int = LOCK_SECONDS) -> str:
    return f"sqlite:///{home / 'airflow.db'}?timeout={lock_seconds}"
