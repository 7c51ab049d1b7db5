"""Which node a pod goes to, and what an API server does not even let in."""

import pytest
from kubernetes.client.exceptions import ApiException

from tests.kubernetes.emulator import Node, manifests
from tests.kubernetes.emulator.scheduling import GPU, place

TOLERATED = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
NODES = (Node("cpu-1", cpus=2), Node("gpu-1", gpus=2, labels={"gpu": "a100"}))


def pod(node=None, phase="Pending", resources=None, **spec):
    made = manifests.pod("true", container={"resources": resources or {}}, **spec)
    made["spec"].update({"nodeName": node} if node else {})
    return {**made, "status": {"phase": phase}}


def gpus(count):
    return {"limits": {GPU: str(count)}}


def found(wanted, *others, claims=()):
    return place(wanted, [node.manifest() for node in NODES], others, claims)


def test_a_pod_without_gpus_stays_off_their_nodes():
    assert found(pod()).node == "cpu-1"


def test_a_pod_with_gpus_goes_where_they_are():
    assert found(pod(resources=gpus(2), tolerations=TOLERATED)).node == "gpu-1"


def test_gpus_are_taken_until_their_pod_has_ended():
    wanted = pod(resources=gpus(1), tolerations=TOLERATED)

    assert found(wanted, pod("gpu-1", "Running", gpus(2))).node is None
    assert found(wanted, pod("gpu-1", "Succeeded", gpus(2))).node == "gpu-1"


def test_the_reason_is_given_node_by_node():
    assert found(pod(resources=gpus(8), tolerations=TOLERATED)).reason == (
        "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    )
    assert found(pod(resources={"requests": {"cpu": "3"}})).reason == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {nvidia.com/gpu: present}."
    )


@pytest.mark.parametrize(("label", "node"), [("a100", "gpu-1"), ("h200", None)])
def test_a_node_selector_is_obeyed(label, node):
    assert found(pod(nodeSelector={"gpu": label}, tolerations=TOLERATED)).node == node


def test_a_claim_has_to_exist():
    wanted = pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "results"}}])

    assert found(wanted).reason == 'persistentvolumeclaim "results" not found'
    assert found(wanted, claims={"results"}).node == "cpu-1"


@pytest.mark.leaves_pods
def test_a_pod_that_fits_nowhere_says_so_and_starts_when_there_is_room(api, cluster):
    wanted = manifests.pod("true", container={"resources": gpus(3)}, tolerations=TOLERATED)
    api.create_namespaced_pod("default", wanted)
    cluster.until(lambda: "FailedScheduling" in str(cluster.events("pod")), "it says so")
    (condition,) = cluster.pod("pod")["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")

    api.patch_node_status("gpu-1", {"status": {"allocatable": {GPU: "3"}}})

    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it has run")


@pytest.mark.parametrize(
    ("container", "fault"),
    [
        ({"resources": {"requests": {GPU: "1"}}}, "limit must be set"),
        ({"resources": {"requests": {GPU: "1"}, "limits": {GPU: "2"}}}, "equal the request"),
        ({"resources": {"limits": {GPU: "0.5"}}}, "must be an integer"),
        ({"resources": {"limits": {"gpu": "1"}}}, "must be a standard resource"),
        ({"resources": {"limits": {"memory": "1Gb"}}}, "Invalid value"),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, "less than or equal"),
        ({"volumeMounts": [{"name": "nowhere", "mountPath": "/x"}]}, "Not found: 'nowhere'"),
        ({"image": ""}, "image: Required value"),
        ({"name": "x" * 3, "resources": {}}, None),
    ],
)
def test_a_faulty_container_is_refused(api, container, fault):
    create = manifests.pod("true", container=container)
    if fault is None:
        api.create_namespaced_pod("default", create, dry_run="All")
        return

    with pytest.raises(ApiException, match=fault) as refusal:
        api.create_namespaced_pod("default", create)

    assert refusal.value.status == 422


@pytest.mark.parametrize(
    ("metadata", "spec", "code"),
    [
        ({"name": "Upper"}, {}, 422),
        ({"name": "a", "labels": {"run": "manual__2026-11-30T09:00:00+00:00"}}, {}, 422),
        ({"name": "a"}, {"serviceAccountName": "nobody"}, 403),
        ({"name": "a", "namespace": "other"}, {}, 400),
    ],
)
def test_a_faulty_pod_is_refused(api, metadata, spec, code):
    faulty = {**manifests.pod("true", **spec), "metadata": metadata}

    with pytest.raises(ApiException) as refusal:
        api.create_namespaced_pod("default", faulty)

    assert refusal.value.status == code


def test_a_namespace_has_to_exist(api):
    with pytest.raises(ApiException, match='namespaces \\\\"evals\\\\" not found'):
        api.create_namespaced_pod("evals", manifests.pod("true"))


def test_what_a_pod_is_made_of_cannot_be_changed(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("sleep 60"))

    api.patch_namespaced_pod("pod", "default", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(ApiException) as refusal:
        api.patch_namespaced_pod("pod", "default", {"spec": {"restartPolicy": "Always"}})

    assert refusal.value.status == 422
    assert cluster.pod("pod")["metadata"]["labels"] == {"a": "b"}
    cluster.delete("pod", grace_seconds=0)
