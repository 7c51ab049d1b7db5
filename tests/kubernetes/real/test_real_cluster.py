"""The scenarios of the emulator on real servers, and those that only a real cluster can show."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config

from llm_eval.airflow.failures import MayPass
from tests.kubernetes.real.cluster import LAUNCHER, RealCluster
from tests.kubernetes.real.real_inference import RealInference, real_inference
from tests.kubernetes.test_scenarios import (  # noqa: F401 - collected here, with this folder's fixtures
    calm,
    test_a_pod_that_ended_well_while_nobody_watched_is_not_run_again,
    test_a_pod_whose_task_was_lost_is_found_again,
    test_a_stage_that_ends_with_bad_input_is_not_tried_again,
    test_a_stage_that_fails_has_its_own_last_word_as_the_reason,
    test_a_task_that_somebody_ends_takes_its_pod_along,
    test_an_undisturbed_pod_publishes_what_a_worker_does,
    test_whoever_has_no_role_is_told_which_one_is_missing,
)

GPUS = 2  # that the one-node cluster has, by word
TOO_LITTLE_GIB = 0.03  # for Python and pyarrow

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(1200)]


@pytest.fixture(params=["waiting", "deferred"])
def inference(request, cluster, monkeypatch) -> Iterator[RealInference]:
    with real_inference(cluster, monkeypatch, deferrable=request.param == "deferred") as made:
        yield made


@pytest.mark.parametrize(
    ("fate", "said"),
    [
        ("evict", r"^Evicted: .*exceeds the limit"),
        ("delete", r"gone|deleted|killed from outside"),
        ("drain", r"gone|deleted|killed from outside"),
        ("vanish", r"^the pod is gone"),
        ("kill", r"^killed from outside \(SIGKILL\)"),
    ],
)
def test_a_pod_that_is_taken_away_costs_a_try_and_no_number(inference, calm, fate, said):  # noqa: F811
    if fate in ("kill", "drain"):
        needs_our_own(inference.cluster, "kill a process from outside, or close a node")
    first = inference.start()
    getattr(inference.cluster, fate)(inference.wait_for_answers())

    error = first.end(120)
    lost = inference.lost()
    inference.succeed()

    assert isinstance(error, MayPass), error
    assert re.search(said, str(error)), error
    assert inference.published() == calm
    assert inference.asked_twice() <= lost


def test_a_pod_that_gives_its_gpus_to_a_more_urgent_one_goes_on_when_they_are_free(inference, calm):  # noqa: F811
    needs_our_own(inference.cluster, "take all GPUs away from others")
    inference.cluster.add_priority(urgent := f"urgent-{secrets.token_hex(4)}", 1000000)
    first = inference.start({"gpus": GPUS})
    inference.wait_for_answers()
    usurper = inference.cluster.create(pod_with_gpus("usurper", inference.cluster.image, urgent))

    error = first.end(120)
    lost = inference.lost()
    inference.cluster.until(lambda: inference.cluster.pod(usurper)["status"]["phase"] == "Running", "the urgent pod")
    inference.cluster.delete(usurper, grace_seconds=0)
    inference.succeed(needs={"gpus": GPUS})

    assert isinstance(error, MayPass), error
    assert inference.published() == calm
    assert inference.asked_twice() <= lost


def test_memory_that_is_not_enough_is_tried_once_more_with_half_of_it(inference, calm):  # noqa: F811
    error = inference.start({"memory_gib": TOO_LITTLE_GIB}).end(120)
    assert isinstance(error, MayPass), error
    assert str(error).startswith("out of memory: it needed more than its limit (31Mi); the next try reads half")

    second = inference.start({"memory_gib": 1})
    inference.wait_for_answers(1)
    (pod,) = inference.cluster.pods()

    assert {"name": "LLM_EVAL_MEMORY_SHARE", "value": "0.5"} in pod["spec"]["containers"][0]["env"]
    assert second.end(120) is None
    assert inference.published() == calm


def test_memory_that_is_not_enough_a_second_time_ends_the_tries(inference):
    errors = [inference.start({"memory_gib": TOO_LITTLE_GIB}).end(120) for _ in range(2)]

    assert isinstance(errors[1], AirflowFailException), errors
    assert "for the second time" in str(errors[1])


def test_an_image_that_never_comes_says_so(inference):
    error = inference.start({"image": "localhost/llm-eval/absent:1"}).end(120)

    assert isinstance(error, AirflowException)
    assert re.search(r"^the pod did not start: (ErrImagePull|ImagePullBackOff): Failed to pull .*absent", str(error)), (
        error
    )


def test_gpus_that_no_node_has_are_named(inference):
    error = inference.start({"gpus": 64}, schedule_timeout_seconds=15).end(120)

    assert isinstance(error, MayPass), error
    assert re.search(r"^no node took the pod: .*Insufficient nvidia.com/gpu", str(error)), error


def test_the_launcher_may_do_no_more_than_its_role_says(cluster):
    with new_client_from_config(str(cluster.kubeconfig_of(LAUNCHER))) as client:
        core = CoreV1Api(client)
        refused = []
        for forbidden in (
            lambda: core.list_namespaced_secret(cluster.namespace),
            lambda: core.list_namespaced_pod("kube-system"),
            lambda: core.connect_get_namespaced_pod_exec("any", cluster.namespace, command="id"),
            lambda: core.list_node(),
        ):
            with pytest.raises(ApiException) as error:
                forbidden()
            refused.append(error.value.status)

        assert core.list_namespaced_pod(cluster.namespace).items == []
        assert refused == [403] * 4


def needs_our_own(cluster: RealCluster, what: str) -> None:
    if not cluster.is_ours:
        pytest.skip(f"a test that must {what} is for the one-node cluster, not for yours: unset KUBECONFIG")


def pod_with_gpus(name: str, image: str, priority: str) -> dict[str, object]:
    """One that takes them all, and does nothing with them."""
    container = {
        "name": "base",
        "image": image,
        "command": ["python", "-c", "import time; time.sleep(600)"],
        "resources": {"limits": {"nvidia.com/gpu": str(GPUS)}},
    }
    spec = {"restartPolicy": "Never", "priorityClassName": priority, "containers": [container]}
    return {"metadata": {"name": name}, "spec": spec}
