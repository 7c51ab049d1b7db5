"""The file as it stands, built and started by a Docker daemon of the test's own, with images that are made here."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llm_eval import results
from llm_eval.airflow.home import USER
from llm_eval.airflow.stack import free_port
from llm_eval.remote.client import AirflowClient
from tests.compose.engine import Engine, NoEngine, engine, said
from tests.compose.files import CHECKOUT, compose_command, make_env
from tests.compose.images import BASE, STANDINS, build_standins, import_base, make_wheels

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

PROJECT = "llm-eval-test"
HEALTHY_SECONDS = 600
DATASETS = ("demo-addition", "demo-animals")


@dataclass(frozen=True)
class Deployed:
    """A started project. `variables`: what its .env says, ports and secrets among it."""

    engine: Engine
    command: tuple[str, ...]
    variables: dict[str, str]

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


@pytest.fixture(scope="module")
def deployed(tmp_path_factory) -> Iterator[Deployed]:
    """The default profile, up and healthy."""
    if (compose := compose_command()) is None:
        pytest.skip("docker compose 2 is not here; `sh tests/compose/get-compose.sh` fetches Debian's")
    folder = tmp_path_factory.mktemp("compose")
    (readable := folder / "empty").mkdir(mode=0o755)  # for the user of the containers; pytest's folder is not
    variables = {
        "PYTHON_IMAGE": BASE,
        "POSTGRES_IMAGE": "localhost/llm-eval-test-postgres",
        "REDIS_IMAGE": "localhost/llm-eval-test-redis",
        "LLM_EVAL_STORE_IMAGE": "localhost/llm-eval-test-object-store",
        "LLM_EVAL_PORT": str(free_port(None)),
        "LLM_EVAL_STORE_PORT": str(free_port(None)),
        "LLM_EVAL_LIGHT_TASKS": "4",  # the machine of the tests has two cores
        "LLM_EVAL_DATASETS_FOLDER": str(readable),
        "LLM_EVAL_WEIGHTS_FOLDER": str(readable),
    }
    env_file = make_env(folder / "env", **variables)
    files = ("--file", "docker-compose.yaml", "--file", str(STANDINS / "compose.yaml"))
    command = (*compose, "--project-name", PROJECT, "--env-file", str(env_file), *files)
    try:
        with engine(tmp_path_factory.mktemp("engine")) as daemon:
            import_base(daemon)
            make_wheels()
            build_standins(daemon, folder / "standins")
            made = Deployed(daemon, command, variables | secrets_of(env_file))
            try:
                made.compose("--profile", "demo", "build")
                made.compose("up", "--detach", "--wait", "--wait-timeout", str(HEALTHY_SECONDS))
                yield made
            finally:
                made.compose("--profile", "*", "down", "--volumes", "--timeout", "10")
    except NoEngine as reason:
        pytest.skip(str(reason))


def secrets_of(env_file: Path) -> dict[str, str]:
    lines = (line for line in env_file.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def until(condition: Callable[[], Any], what: str, seconds: float = 600) -> Any:
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"not in {seconds:g} s: {what}"
        time.sleep(1)
    return value


@pytest.fixture(scope="module")
def airflow(deployed) -> AirflowClient:
    """Through the port of this machine, with the password that airflow-init made."""
    passwords = json.loads(deployed.inside("airflow-apiserver", "cat", "/var/lib/airflow/login/passwords.json"))
    return AirflowClient(f"http://127.0.0.1:{deployed.variables['LLM_EVAL_PORT']}", USER, passwords[USER])


def test_everything_is_healthy_and_init_has_said_how_to_log_in(deployed, airflow):
    health = deployed.health()
    assert health.pop("airflow-init") == "exited 0"
    assert set(health.values()) == {"healthy"}
    assert f"user         {USER}" in deployed.compose("logs", "airflow-init")
    pools = {pool["name"]: pool["slots"] for pool in airflow.call("GET", "/api/v2/pools")["pools"]}
    assert (pools["gpu"], pools["cpu"], pools["api"]) == (1, 2, 4)
    assert airflow.call("GET", "/api/v2/importErrors")["import_errors"] == []


def test_what_is_not_airflows_scheduler_has_no_torch_and_what_asks_models_no_airflow(deployed):
    has = "import importlib.util as i; print(*(i.find_spec(name) is not None for name in ('airflow', 'torch')))"
    assert deployed.inside("airflow-apiserver", "python", "-c", has).split() == ["True", "False"]
    assert deployed.inside("airflow-scheduler", "python", "-c", has).split() == ["True", "False"]
    assert deployed.inside("airflow-scheduler", "/opt/inference/bin/python", "-c", has).split() == ["False", "True"]


def test_containers_run_as_an_ordinary_user_that_can_change_nothing_of_the_program(deployed):
    assert deployed.inside("airflow-scheduler", "id", "--user").strip() == "50000"
    with pytest.raises(RuntimeError, match="Permission denied"):
        deployed.inside("airflow-scheduler", "touch", "/opt/llm-eval/dags/another.py")


def test_an_image_says_what_is_in_it(deployed):
    packages = json.loads(deployed.inside("airflow-apiserver", "cat", "/opt/llm-eval/sbom/airflow.cdx.json"))
    names = {component["name"] for component in packages["components"]}
    assert {"apache-airflow", "s3fs"} <= names
    assert "torch" not in names
    label = '{{index .Config.Labels "org.opencontainers.image.title"}}'
    assert deployed.engine.run("inspect", "--format", label, "llm-eval-worker:dev").strip() == "llm-eval worker"


def test_the_demo_is_evaluated_although_the_scheduler_is_restarted_in_the_middle(deployed, airflow, monkeypatch):
    demo = deployed.in_background("run", "--rm", "--no-TTY", "demo", "--steps", "10")
    dag_ids = [f"eval__demo__{dataset}" for dataset in DATASETS]

    def infer_is_running() -> bool:
        assert demo.poll() is None, demo.stdout.read()
        query = {"dag_ids": dag_ids, "state": ["running"]}
        running = airflow.call("POST", "/api/v2/dags/~/dagRuns/~/taskInstances/list", query)["task_instances"]
        return any(task["task_id"] == "infer" for task in running)

    until(infer_is_running, "a model being asked")
    deployed.compose("restart", "--timeout", "5", "airflow-scheduler")

    said_by_demo, _ = demo.communicate(timeout=1800)
    assert demo.returncode == 0, said_by_demo
    assert "learning curve" in said_by_demo
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{deployed.variables['LLM_EVAL_STORE_PORT']}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", deployed.variables["LLM_EVAL_S3_ACCESS_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", deployed.variables["LLM_EVAL_S3_SECRET_KEY"])
    published = [row for row in results.summary("s3://llm-eval/root", models=("demo",)) if row.headline]
    assert sorted((row.checkpoint, row.dataset) for row in published) == [
        (f"step-{step:04d}", dataset) for step in (1, 4, 7, 10) for dataset in DATASETS
    ]
    assert [row.failed for row in published] == [0] * len(published)


def test_a_second_up_finds_everything_as_it_was(deployed, airflow):
    deployed.inside("airflow-apiserver", "airflow", "pools", "set", "api", "7", "hosted models")
    deployed.compose("up", "--detach", "--force-recreate", "--wait", "--wait-timeout", str(HEALTHY_SECONDS))
    assert airflow.call("GET", "/api/v2/pools/api")["slots"] == 7


def test_nothing_listens_beyond_this_machine(deployed):
    listening = deployed.engine.run("ps", "--format", "{{.Ports}}")
    published = [port for line in listening.splitlines() for port in line.split(", ") if "->" in port]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
