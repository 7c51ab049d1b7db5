"""A project of docker-compose.yaml: built once for all tests, started by each module with the profiles it is about."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from llm_eval import results
from llm_eval.airflow.home import USER
from llm_eval.records import Result
from llm_eval.remote.client import AirflowClient
from tests.compose.engine import Engine, said
from tests.compose.files import CHECKOUT

PROJECT = "llm-eval-test"
HEALTHY_SECONDS = 600
RUN_SECONDS = 1800
DATASETS = ("demo-addition", "demo-animals")
DAG_IDS = [f"eval__demo__{dataset}" for dataset in DATASETS]


@dataclass(frozen=True)
class Deployed:
    """`variables`: what its .env says, ports and secrets among it."""

    engine: Engine
    command: tuple[str, ...]
    variables: Mapping[str, str]

    @contextmanager
    def up(self) -> Iterator[Deployed]:
        """Started, and healthy; taken down afterwards with everything that it has written."""
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", str(HEALTHY_SECONDS))
            yield self
        finally:
            self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "10")

    def compose(self, *arguments: str) -> str:
        return said([*self.command, *arguments], self.engine.environment, cwd=CHECKOUT)

    def in_background(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *arguments], env=dict(self.engine.environment), cwd=CHECKOUT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def health(self) -> dict[str, str]:
        """Service → health, or state where there is none, of everything that has been started."""
        rows = map(json.loads, self.compose("ps", "--all", "--format", "json").splitlines())
        return {row["Service"]: row["Health"] or f"{row['State']} {row['ExitCode']}" for row in rows}

    def inside(self, service: str, *command: str) -> str:
        return self.compose("exec", "--no-TTY", service, *command)

    def kill(self, service: str) -> None:
        """`kill -9` of all in the service's container, as the machine would: after `docker kill` it would stay dead."""
        container = self.container(service)
        restarts = ("inspect", "--format", "{{.RestartCount}}", container)
        before = int(self.engine.run(*restarts))
        os.kill(int(self.engine.run("inspect", "--format", "{{.State.Pid}}", container)), signal.SIGKILL)
        until(lambda: int(self.engine.run(*restarts)) > before, f"{service} started again after it was killed")

    def container(self, service: str) -> str:
        """Its id."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def logged_in(self) -> AirflowClient:
        """Through the port of this machine, with the password that airflow-init made."""
        passwords = json.loads(self.inside("airflow-apiserver", "cat", "/var/lib/airflow/login/passwords.json"))
        return AirflowClient(f"http://127.0.0.1:{self.variables['LLM_EVAL_PORT']}", USER, passwords[USER])

    def published(self, *models: str) -> list[Result]:
        """The headline rows, read from this machine with the keys of .env."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{self.variables['LLM_EVAL_STORE_PORT']}")
            patch.setenv("AWS_ACCESS_KEY_ID", self.variables["LLM_EVAL_S3_ACCESS_KEY"])
            patch.setenv("AWS_SECRET_ACCESS_KEY", self.variables["LLM_EVAL_S3_SECRET_KEY"])
            return [row for row in results.summary("s3://llm-eval/root", models=models) if row.headline]


def until(condition: Callable[[], Any], what: str, seconds: float = 600) -> Any:
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"not in {seconds:g} s: {what}"
        time.sleep(1)
    return value


class Demo:
    """`docker compose run --rm demo` with a model that learns nothing, at work."""

    def __init__(self, deployed: Deployed, airflow: AirflowClient) -> None:
        self._deployed, self._airflow = deployed, airflow
        self._process = deployed.in_background("run", "--rm", "--no-TTY", "demo", "--steps", "10")

    def wait_for_infer(self, after: str = "") -> str:
        """Until a model is being asked by a task that began later than `after`; when the last such task began."""
        return str(until(lambda: self._began(after), "a model being asked"))

    def _began(self, after: str) -> str | None:
        assert self._process.poll() is None, self._process.stdout.read()  # type: ignore[union-attr]
        query = {"dag_ids": DAG_IDS, "state": ["running"]}
        tasks = self._airflow.call("POST", "/api/v2/dags/~/dagRuns/~/taskInstances/list", query)["task_instances"]
        began = [str(task["start_date"]) for task in tasks if task["task_id"] == "infer"]
        return max((time for time in began if time > after), default=None)

    def check_results(self) -> None:
        """All checkpoints were evaluated on both datasets, and no sample failed."""
        words, _ = self._process.communicate(timeout=RUN_SECONDS)
        assert self._process.returncode == 0, words
        assert "learning curve" in words
        published = self._deployed.published("demo")
        assert sorted((row.checkpoint, row.dataset) for row in published) == [
            (f"step-{step:04d}", dataset) for step in (1, 4, 7, 10) for dataset in DATASETS
        ]
        assert [row.failed for row in published] == [0] * len(published)
