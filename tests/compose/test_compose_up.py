"""The file as it stands, built and started by a Docker daemon of the test's own, with images that are made here."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from llm_eval.airflow.home import USER
from tests.compose.deployed import HEALTHY_SECONDS, Demo, Deployed

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def deployed(built) -> Iterator[Deployed]:
    """The default profile, up and healthy."""
    with built.up():
        yield built


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


def test_the_demo_is_evaluated_although_the_scheduler_is_restarted_and_killed_in_the_middle(deployed, airflow):
    demo = Demo(deployed, airflow)
    began = demo.wait_for_infer()
    deployed.compose("restart", "--timeout", "5", "airflow-scheduler")
    demo.wait_for_infer(after=began)
    deployed.kill("airflow-scheduler")
    demo.check_results()


def test_a_second_up_finds_everything_as_it_was(deployed, airflow):
    deployed.inside("airflow-apiserver", "airflow", "pools", "set", "api", "7", "hosted models")
    deployed.compose("up", "--detach", "--force-recreate", "--wait", "--wait-timeout", str(HEALTHY_SECONDS))
    assert airflow.call("GET", "/api/v2/pools/api")["slots"] == 7


def test_nothing_listens_beyond_this_machine(deployed):
    listening = deployed.engine.run("ps", "--format", "{{.Ports}}")
    published = [port for line in listening.splitlines() for port in line.split(", ") if "->" in port]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
