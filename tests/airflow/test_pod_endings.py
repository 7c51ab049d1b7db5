"""How the end of a pod is read. The states are those that Kubernetes reports (kubelet, scheduler, eviction API)."""

from datetime import UTC, datetime

import pytest
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from llm_eval.airflow.pod_endings import PodEnd, PodEvent, Sight, is_at_work, pod_end, refusal, succeeded
from llm_eval.errors import BAD_INPUT, FAILED, MAY_PASS, REFUSED

NOTHING_ELSE = "Pod llm-eval-infer-x returned a failure."


def status_of(name, **state):
    return k8s.V1ContainerStatus(
        name=name, state=k8s.V1ContainerState(**state), image="i:1", image_id="", ready=False, restart_count=0
    )


def pod(phase="Failed", statuses=(), deleted=False, limit=None, init=(), **status):
    resources = k8s.V1ResourceRequirements(limits={"memory": limit}) if limit else None
    when = datetime(2026, 1, 1, tzinfo=UTC) if deleted else None
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="llm-eval-infer-x", deletion_timestamp=when),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", resources=resources)]),
        status=k8s.V1PodStatus(
            phase=phase, container_statuses=list(statuses), init_container_statuses=list(init), **status
        ),
    )


def ended(exit_code, message="", reason="Error", name="base"):
    return status_of(
        name, terminated=k8s.V1ContainerStateTerminated(exit_code=exit_code, message=message, reason=reason)
    )


def waiting(reason, message=None):
    return status_of("base", waiting=k8s.V1ContainerStateWaiting(reason=reason, message=message))


def end(pod, *warnings):
    return pod_end(Sight(pod, [PodEvent(True, "Failed", message) for message in warnings]), "base", NOTHING_ELSE)


@pytest.mark.parametrize(
    ("exit_code", "message", "reason"),
    [
        (FAILED, "loading\nerror: 12 of 12 samples failed\n", "12 of 12 samples failed"),
        (BAD_INPUT, "error: no weights at /models/m\n", "no weights at /models/m"),
        (REFUSED, "error: the budget is spent\n", "the budget is spent"),
        (MAY_PASS, "error: cannot write s3://b\n", "cannot write s3://b"),
        (FAILED, "", "exit code 1, and not a word"),
        (139, "Segmentation fault\n", "Segmentation fault"),
    ],
)
def test_a_stages_own_exit_code_and_last_word_stand(exit_code, message, reason):
    assert end(pod(statuses=[ended(exit_code, message)])) == PodEnd(exit_code, reason)


def test_memory_that_was_not_enough_is_told_with_its_limit():
    told = end(pod(statuses=[ended(137, "answering\n", "OOMKilled")], limit="24Gi"))

    assert told == PodEnd(FAILED, "out of memory: it needed more than its limit (24Gi)", True)


@pytest.mark.parametrize(("exit_code", "signal"), [(137, "SIGKILL"), (143, "SIGTERM")])
def test_what_was_killed_from_outside_is_tried_again(exit_code, signal):
    told = end(pod(statuses=[ended(exit_code, "20 of 40\n30 of 40\n")]))

    assert told == PodEnd(MAY_PASS, f"killed from outside ({signal}); its last line: 30 of 40")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "Evicted: The node was low"),
        ({"reason": "Preempting", "message": "Preempted by default/big on node n1"}, "Preempting: Preempted by"),
        ({"reason": "NodeLost", "message": "Node n1 which was running pod is unresponsive"}, "NodeLost: Node n1"),
        (
            {"reason": "Terminated", "message": "Pod was terminated by imminent node shutdown."},
            "Terminated:",
        ),
        ({"reason": "UnexpectedAdmissionError", "message": "Allocate failed"}, "UnexpectedAdmissionError: Allocate"),
        ({"reason": "OutOfnvidia.com/gpu", "message": "Node didn't have enough resource"}, "OutOfnvidia.com/gpu: Node"),
    ],
)
def test_a_pod_that_its_node_gave_up_is_tried_again(status, reason):
    told = end(pod(statuses=[ended(137, "30 of 40\n")], **status))

    assert told.exit_code == MAY_PASS
    assert told.reason.startswith(reason)


def test_a_pod_that_the_eviction_api_took_is_tried_again():
    condition = k8s.V1PodCondition(
        type="DisruptionTarget", status="True", reason="EvictionByEvictionAPI", message="Eviction API: evicting"
    )

    told = end(pod(statuses=[ended(143)], conditions=[condition]))

    assert told == PodEnd(MAY_PASS, "EvictionByEvictionAPI: Eviction API: evicting")


def test_a_pod_that_is_gone_is_tried_again():
    assert end(None, "a warning") == PodEnd(MAY_PASS, "the pod is gone: deleted by hand, or with its node")
    assert end(pod("Running", deleted=True)) == PodEnd(MAY_PASS, "the pod was deleted while it was at work")


def test_what_took_a_pod_that_is_gone_is_told_from_its_events():
    events = [
        PodEvent(False, "Preempted", "Preempted by default/big on node n1"),
        PodEvent(False, "Killing", "Stopping"),
    ]

    told = pod_end(Sight(None, events), "base", NOTHING_ELSE)

    assert told == PodEnd(MAY_PASS, "the pod is gone: Preempted: Preempted by default/big on node n1")


def test_a_pod_that_took_too_long_has_few_tries():
    told = end(pod(reason="DeadlineExceeded", message="Pod was active on the node longer than the specified deadline"))

    assert told.exit_code == FAILED
    assert "resources.max_hours" in told.reason


@pytest.mark.parametrize(
    ("state", "exit_code"),
    [
        (waiting("ErrImagePull", "dial tcp 10.0.0.1:443: i/o timeout"), MAY_PASS),
        (waiting("ImagePullBackOff", "Back-off pulling image"), MAY_PASS),
        (waiting("ErrImagePull", "manifest for r/i:9 not found: manifest unknown"), FAILED),
        (waiting("ErrImagePull", "pull access denied for r/i"), FAILED),
        (waiting("InvalidImageName", "couldn't parse image reference 'R:I'"), BAD_INPUT),
        (waiting("CreateContainerConfigError", 'secret "keys" not found'), FAILED),
    ],
)
def test_why_a_pod_did_not_start_is_told(state, exit_code):
    told = end(pod("Pending", [state]))

    assert told.exit_code == exit_code
    assert told.reason == f"the pod did not start: {state.state.waiting.reason}: {state.state.waiting.message}"


def test_an_image_that_does_not_exist_is_known_by_its_event_where_the_state_only_backs_off():
    """Words of Kubernetes 1.20 and containerd 1.6."""
    failed, backs_off = 'Failed to pull image "r/i:9": rpc error: r/i:9: not found', 'Back-off pulling image "r/i:9"'
    told = end(pod("Pending", [waiting("ImagePullBackOff", backs_off)]), failed, "Error: ErrImagePull")

    assert told.exit_code == FAILED
    assert told.reason == f"the pod did not start: ImagePullBackOff: {failed}"


def test_a_pod_that_no_node_takes_says_what_is_missing():
    condition = k8s.V1PodCondition(
        type="PodScheduled", status="False", reason="Unschedulable", message="0/3 nodes: 3 Insufficient nvidia.com/gpu."
    )

    told = end(pod("Pending", conditions=[condition]))

    assert told == PodEnd(MAY_PASS, "no node took the pod: 0/3 nodes: 3 Insufficient nvidia.com/gpu.")


def test_a_pod_that_waits_for_a_volume_tells_its_last_warning():
    told = end(pod("Pending", [waiting("ContainerCreating")]), "old", 'persistentvolumeclaim "weights" not found')

    assert told == PodEnd(MAY_PASS, 'the pod did not start in time: persistentvolumeclaim "weights" not found')


def test_a_container_before_the_stage_is_named():
    told = end(pod(init=[ended(1, "no such bucket", name="fetch-weights")]))

    assert told == PodEnd(FAILED, "container 'fetch-weights': no such bucket")


def test_what_nothing_else_explains_is_told_as_it_was_heard():
    assert end(pod("Running")) == PodEnd(FAILED, NOTHING_ELSE)


@pytest.mark.parametrize(
    ("status", "exit_code"), [(401, 2), (403, 2), (404, 2), (422, 2), (409, 75), (429, 75), (500, 75), (503, 75)]
)
def test_what_kubernetes_refuses_stays_refused_and_what_it_fails_at_may_pass(status, exit_code):
    error = ApiException(status=status, reason="Words")
    error.body = '{"kind": "Status", "message": "pods is forbidden"}'

    told = refusal(error)

    assert told.exit_code == exit_code
    assert told.reason.startswith(f"Kubernetes answered {status} Words: pods is forbidden")
    assert ("rbac.yaml" in told.reason) is (status in (401, 403))


def test_a_kubernetes_that_does_not_answer_may_again():
    assert refusal(ConnectionError("refused")) == PodEnd(MAY_PASS, "Kubernetes does not answer: refused")


def test_whether_a_pod_is_well():
    assert succeeded(Sight(pod("Succeeded")))
    assert not succeeded(Sight(None))
    assert is_at_work(Sight(pod("Running")))
    assert not is_at_work(Sight(pod("Running", deleted=True)))
    assert not is_at_work(Sight(pod("Failed")))
