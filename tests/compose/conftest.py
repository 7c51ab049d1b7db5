"""Images and a Docker daemon for all tests that start something; they are most of the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from llm_eval.airflow.stack import free_port
from llm_eval.remote.client import AirflowClient
from tests.compose.deployed import PROJECT, Deployed
from tests.compose.engine import NoEngine, engine
from tests.compose.files import compose_command, make_env
from tests.compose.images import BASE, STANDINS, build_standins, import_base, make_wheels


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Iterator[Deployed]:
    """Every image made, nothing started."""
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
        "LLM_EVAL_SERVE_PORT": str(free_port(None)),
        "LLM_EVAL_LIGHT_TASKS": "4",  # the machine of the tests has two cores
        "LLM_EVAL_DATASETS_FOLDER": str(readable),
        "LLM_EVAL_WEIGHTS_FOLDER": str(readable),
    }
    env_file = make_env(folder / "env", **variables)
    lines = (line for line in env_file.read_text().splitlines() if "=" in line and not line.startswith("#"))
    files = ("--file", "docker-compose.yaml", "--file", str(STANDINS / "compose.yaml"))
    command = (*compose, "--project-name", PROJECT, *files, "--env-file", str(env_file))
    try:
        with engine(tmp_path_factory.mktemp("engine")) as daemon:
            import_base(daemon)
            make_wheels()
            build_standins(daemon, folder / "standins")
            made = Deployed(daemon, command, dict(line.split("=", 1) for line in lines))
            made.compose("--profile", "demo", "build")
            yield made
    except NoEngine as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def with_workers(built) -> Deployed:
    """The same project with Celery's workers, as docs/compose.md says to ask for them."""
    return replace(built, command=(*built.command, "--env-file", "include/compose/celery.env"))


@pytest.fixture(scope="module")
def airflow(deployed) -> AirflowClient:
    """Of what the module has started."""
    return deployed.logged_in()
