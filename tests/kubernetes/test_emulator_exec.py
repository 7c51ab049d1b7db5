"""Commands inside a container, over a websocket, as the operator fetches a result from its sidecar."""

import subprocess

import pytest
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from kubernetes.stream import stream

from tests.kubernetes.emulator import Cluster, manifests
from tests.kubernetes.test_emulator_containers import needs

WITH_A_VOLUME = {
    "volumes": [{"name": "v", "emptyDir": {}}],
    "container": {"volumeMounts": [{"name": "v", "mountPath": "/airflow/xcom"}]},
}
# Version 36 of the client looks for a body in the refusal of a websocket, which has none.
REFUSED = (ApiException, AttributeError)
# How the operator ends its sidecar. Outside of a PID namespace it would end every shell of this machine.
KILL_ALL_SHELLS = "kill -2 $(pgrep -u $(id -u) -f 'sh')"


@pytest.fixture
def inside(api, cluster):
    """Opens a command in a pod that has only just begun to run."""
    script = "trap 'exit 9' INT; echo ready; while sleep 0.1; do :; done"
    api.create_namespaced_pod("default", manifests.pod(script, **WITH_A_VOLUME))
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Running", "it runs")

    def run(*command, **options):
        connect = api.connect_get_namespaced_pod_exec
        streams = {"stdin": False, "stdout": True, "stderr": True, "tty": False, "_preload_content": False, **options}
        return stream(connect, "pod", "default", container="base", command=list(command), **streams)

    yield run
    cluster.delete("pod", grace_seconds=0)


def finished(opened):
    opened.run_forever(timeout=60)
    return opened


@needs("exec")
def test_a_command_sees_what_the_container_sees_from_its_first_moment(inside):
    assert finished(inside("ls", "-d", "/airflow/xcom")).read_stdout() == "/airflow/xcom\n"


@needs("exec")
def test_output_errors_and_the_exit_code_come_back(inside):
    opened = finished(inside("sh", "-c", "echo out; echo err >&2; exit 5"))

    assert (opened.read_stdout(), opened.read_stderr(), opened.returncode) == ("out\n", "err\n", 5)


@needs("exec")
def test_a_command_can_be_typed_into(inside):
    opened = inside("sh", stdin=True)
    opened.write_stdin("echo $((6 * 7))\nexit\n")

    assert finished(opened).read_stdout() == "42\n"


@needs("exec")
def test_a_large_answer_comes_back_whole(inside):
    opened = inside("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")

    assert len(finished(opened).read_stdout()) == 3000000


@needs("exec")
def test_a_command_reaches_no_process_outside_of_its_container(inside, cluster):
    cluster.until(lambda: cluster.log("pod") == ["ready"], "its trap is set")
    with subprocess.Popen(["sh", "-c", "sleep 60; exit"]) as bystander:
        finished(inside("sh", "-c", KILL_ALL_SHELLS))
        cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Failed", "the container was reached")

        assert bystander.poll() is None
        bystander.kill()

    assert cluster.pod("pod")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 9


@needs("exec")
def test_a_websocket_may_be_refused(inside, cluster):
    cluster.faults.fail("GET", "/exec", 500)

    with pytest.raises(REFUSED):
        inside("true")

    assert cluster.requests[-1].status == 500


def test_without_namespaces_there_is_no_exec(tmp_path):
    with Cluster(tmp_path, isolation="none") as cluster, new_client_from_config(str(cluster.kubeconfig)) as client:
        api = CoreV1Api(client)
        api.create_namespaced_pod("default", manifests.pod("sleep 60"))
        cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Running", "it runs")

        with pytest.raises(REFUSED) as refusal:
            stream(api.connect_get_namespaced_pod_exec, "pod", "default", command=["true"], stdout=True)

        assert "500" in f"{refusal.value} {refusal.value.__context__}"
