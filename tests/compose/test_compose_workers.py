"""The profiles `celery` and `serve`: the models run in a worker of Celery, or behind a server beside Airflow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compose.deployed import HEALTHY_SECONDS, Demo, Deployed

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def deployed(with_workers) -> Iterator[Deployed]:
    """The profile `celery`, up and healthy."""
    with with_workers.up():
        yield with_workers


def test_the_worker_is_healthy_and_the_scheduler_needs_no_torch(deployed):
    health = deployed.health()
    assert health.pop("airflow-init") == "exited 0"
    assert {"redis", "airflow-worker"} <= set(health)
    assert set(health.values()) == {"healthy"}
    image = deployed.engine.run("inspect", "--format", "{{.Config.Image}}", deployed.container("airflow-scheduler"))
    assert image.strip() == "llm-eval-airflow:dev"


def test_the_demo_is_evaluated_although_the_worker_is_killed_in_the_middle(deployed, airflow):
    demo = Demo(deployed, airflow)
    demo.wait_for_infer()
    deployed.kill("airflow-worker")
    demo.check_results()


def test_a_model_is_served_and_asked_through_its_server(deployed):
    """After the demo, whose weights it serves."""
    up = ("up", "--detach", "--wait", "--wait-timeout", str(HEALTHY_SECONDS), "model-server")
    deployed.compose("--profile", "serve", *up)
    weights = "model.backend.model=/models/demo/step-0010"  # the last ones of a demo with --steps 10
    asked = ("llm-eval", "run", "--model", "served", "--dataset", "demo-addition", "--limit", "8", "--set", weights)
    said = deployed.inside("airflow-worker", *asked)
    (row,) = deployed.published("served")
    assert (row.samples, row.failed) == (8, 0), said
