"""A cluster for one test, and a look at what the test has left behind in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import CoreV1Api
from kubernetes.config import new_client_from_config

import tests.airflow_home  # noqa: F401 - decided before a test module imports airflow
from tests.kubernetes.emulator import Cluster, manifests

MARKERS = (
    "cluster(**site): arguments of the Cluster that the test gets",
    "leaves_pods: the test may leave pods in its cluster",
)
# How long Airflow's operator waits before it asks a stumbling server again; by default up to 15 seconds, five times.
os.environ.update(AIRFLOW__WORKERS__API_RETRY_WAIT_MIN="0.1", AIRFLOW__WORKERS__API_RETRY_WAIT_MAX="0.5")


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(tryfirst=True)  # before the items that nobody asked for are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a cluster takes its time: `make test-kubernetes` runs it."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kubernetes)


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes, one of them with two GPUs. The test fails if it leaves pods."""
    asked = request.node.get_closest_marker("cluster")
    with Cluster(tmp_path, **(asked.kwargs if asked else {})) as made:
        yield made
        assert request.node.get_closest_marker("leaves_pods") or made.leaks() == []


@pytest.fixture
def api(cluster: Cluster) -> Iterator[CoreV1Api]:
    """Kubernetes' own client."""
    with new_client_from_config(str(cluster.kubeconfig)) as client:
        yield CoreV1Api(client)


@pytest.fixture
def ended(cluster: Cluster) -> Callable[..., dict[str, Any]]:
    """Runs a pod of `manifests.pod`, waits until it has ended and gives back its status, with its log as `log`."""
    return partial(status_at_the_end, cluster)


def status_at_the_end(cluster: Cluster, script: str, **pod: Any) -> dict[str, Any]:
    with new_client_from_config(str(cluster.kubeconfig)) as client:
        name = CoreV1Api(client).create_namespaced_pod("default", manifests.pod(script, **pod)).metadata.name
    cluster.until(lambda: cluster.pod(name)["status"]["phase"] in ("Succeeded", "Failed"), "the pod has ended")
    status = {**cluster.pod(name)["status"], "log": cluster.log(name, "base")}
    cluster.delete(name)
    return status
