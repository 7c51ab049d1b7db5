"""What clusters do to pods, on purpose and by accident."""

import time

import pytest
from kubernetes.client.exceptions import ApiException

from tests.kubernetes.emulator import manifests
from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.test_emulator_containers import exists, terminated

TAKES_LEAVE = "trap 'echo leaving; sleep 5; echo gone; exit 0' TERM; echo ready; while sleep 0.1; do :; done"
IGNORES_IT = "trap '' TERM; echo ready; while sleep 0.1; do :; done"


@pytest.fixture
def begun(api, cluster):
    """Starts a pod, and returns when it is ready."""

    def start(script=TAKES_LEAVE, **spec):
        api.create_namespaced_pod("default", manifests.pod(script, **spec))
        cluster.until(lambda: runs(cluster) and cluster.log("pod") == ["ready"], "it is ready")

    return start


def runs(cluster):
    return cluster.pod("pod")["status"]["phase"] == "Running"


def is_gone(cluster):
    return cluster.pods() == []


def test_a_pod_that_is_deleted_has_its_grace_period(begun, api, cluster):
    begun()
    log = api.read_namespaced_pod_log("pod", "default", follow=True, _preload_content=False)

    answer = api.delete_namespaced_pod("pod", "default")

    assert answer.metadata.deletion_timestamp is not None
    assert answer.metadata.deletion_grace_period_seconds == 30
    assert log.data.split() == [b"ready", b"leaving", b"gone"]
    cluster.until(lambda: is_gone(cluster), "it is gone")


def test_the_grace_period_has_an_end(begun, cluster):
    begun(IGNORES_IT, terminationGracePeriodSeconds=1)
    started = time.monotonic()

    cluster.delete("pod")

    cluster.until(lambda: is_gone(cluster), "it is gone")
    assert 0.8 < time.monotonic() - started < 15  # and not the 30 that it would have by itself


def test_a_second_deletion_may_have_less_patience(begun, api, cluster):
    begun(IGNORES_IT)
    api.delete_namespaced_pod("pod", "default")
    assert runs(cluster)

    api.delete_namespaced_pod("pod", "default", grace_period_seconds=0)

    assert is_gone(cluster)


def test_another_pod_of_the_same_name_is_not_deleted(begun, api, cluster):
    begun()

    with pytest.raises(ApiException) as refusal:
        api.delete_namespaced_pod("pod", "default", body={"preconditions": {"uid": "of-an-earlier-one"}})

    assert refusal.value.status == 409
    cluster.delete("pod", grace_seconds=0)


def test_a_pod_that_never_started_is_gone_at_once(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("true", nodeSelector={"no": "such-node"}))

    api.delete_namespaced_pod("pod", "default")

    assert is_gone(cluster)


def test_an_evicted_pod_has_failed_and_stays(begun, cluster):
    begun()

    cluster.evict("pod")

    status = cluster.pod("pod")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert terminated(status)["exitCode"] == 137
    disruption = next(c for c in status["conditions"] if c["type"] == "DisruptionTarget")
    assert (disruption["status"], disruption["reason"]) == ("True", "TerminationByKubelet")
    assert "Evicted: The node was low on resource: memory." in cluster.events("pod")
    cluster.delete("pod")


def test_a_preempted_pod_is_told_why_and_goes(begun, api, cluster):
    begun()

    cluster.preempt("pod")

    pod = api.read_namespaced_pod("pod", "default")
    assert [c.reason for c in pod.status.conditions if c.type == "DisruptionTarget"] == ["PreemptionByScheduler"]
    cluster.until(lambda: is_gone(cluster), "it is gone")
    assert any(event.startswith("Preempted") for event in cluster.events("pod"))


def test_a_pod_may_vanish(begun, api, cluster):
    begun()
    processes = cluster.processes("pod")

    cluster.vanish("pod")

    assert is_gone(cluster)
    assert not any(map(exists, processes))
    with pytest.raises(ApiException) as refusal:
        api.read_namespaced_pod("pod", "default")
    assert refusal.value.status == 404


def test_a_lost_node_says_nothing_of_its_pods(begun, api, cluster):
    begun()

    cluster.lose_node("cpu-1")

    assert runs(cluster)
    cluster.until(lambda: cluster.processes("pod") == [], "its processes have ended")
    with pytest.raises(ApiException, match="no route to host"):
        api.read_namespaced_pod_log("pod", "default")
    api.create_namespaced_pod("default", manifests.pod("true", name="next"))
    cluster.until(lambda: "node(s) were unreachable" in str(cluster.events("next")), "there is no other node")
    cluster.delete("next")
    cluster.delete("pod")
    assert cluster.leaks(0) == ["pod: Running"]  # until somebody insists
    cluster.delete("pod", grace_seconds=0)


def test_a_container_that_is_killed_for_memory_says_so(begun, cluster):
    begun()

    cluster.kill_for_memory("pod")

    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Failed", "it has failed")
    assert terminated(cluster.pod("pod")["status"])["reason"] == "OOMKilled"
    cluster.delete("pod")


def test_who_asks_for_a_pod_that_is_not_there_is_told(cluster):
    with pytest.raises(ApiError, match='pods "pod" not found'):
        cluster.evict("pod")
