"""Nothing of a cluster outlives the process that made it, and what a test leaves is found."""

import subprocess
import sys
from contextlib import ExitStack

import pytest
from kubernetes.client import CoreV1Api
from kubernetes.config import new_client_from_config

from tests.conftest import CHECKOUT
from tests.kubernetes.emulator import Cluster, manifests
from tests.kubernetes.emulator.cluster import EmulatorError
from tests.kubernetes.emulator.isolation import FEATURES, can_isolate
from tests.kubernetes.emulator.leaks import left_on_the_machine
from tests.kubernetes.test_emulator_containers import exists, needs

OWNER = """
import sys, time
from pathlib import Path
from kubernetes.client import CoreV1Api
from kubernetes.config import new_client_from_config
from tests.kubernetes.emulator import Cluster, manifests

with Cluster(Path(sys.argv[1]), isolation=sys.argv[2]) as cluster:
    api = CoreV1Api(new_client_from_config(str(cluster.kubeconfig)))
    api.create_namespaced_pod("default", manifests.pod("sleep 600 & sleep 600"))
    found = cluster.until(lambda: len(p := cluster.processes("pod")) == 3 and p, "it has children")
    print(*found, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("isolation", [kind for kind in FEATURES if can_isolate(kind)])
def test_containers_end_when_their_owner_is_killed(tmp_path, isolation, cluster):
    command = [sys.executable, "-c", OWNER, str(tmp_path), isolation]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as owner:
        assert owner.stdout
        processes = [int(pid) for pid in owner.stdout.readline().split()]
        assert processes
        assert all(map(exists, processes))

        owner.kill()

    cluster.until(lambda: not any(map(exists, processes)), "they have ended")


def test_pods_that_are_left_are_named(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("sleep 600", name="forgotten"))

    (left,) = cluster.leaks(0)

    assert left.startswith("forgotten: ")
    cluster.delete("forgotten", grace_seconds=0)
    assert cluster.leaks() == []


def test_a_pod_that_is_leaving_is_waited_for(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("trap 'sleep 5; exit' TERM; echo ready; sleep 60 & wait"))
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Running" and cluster.log("pod"), "it is ready")
    cluster.delete("pod")

    assert cluster.leaks(0) == ["pod: Running"]
    assert cluster.leaks() == []


@needs("mounts")  # by which it finds what is left
def test_a_cluster_takes_its_pods_along(tmp_path):
    with Cluster(tmp_path) as cluster:
        create(cluster, "trap '' TERM; sleep 600")
        processes = cluster.until(lambda: cluster.processes("pod"), "it runs")
        assert left_on_the_machine(cluster.folder.name, set())

    assert not any(map(exists, processes))
    assert left_on_the_machine(cluster.folder.name, set()) == []


def create(cluster, script):
    with new_client_from_config(str(cluster.kubeconfig)) as client:
        CoreV1Api(client).create_namespaced_pod("default", manifests.pod(script))


def test_an_error_of_the_emulator_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.kubernetes.emulator.pods.place", lambda *_: 1 / 0)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(tmp_path))
        create(cluster, "true")

        with pytest.raises(EmulatorError, match="ZeroDivisionError"):
            stack.close()
