"""What happens to pods, done to real ones: their results do not show it, and nothing of them is left.

Each scenario twice: with the task waiting for its pod, and with the triggerer waiting for it.
"""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from llm_eval import storage
from llm_eval.airflow.failures import MayPass
from tests.kubernetes.inference import IMAGE, NAMESPACE, QUESTIONS, SITE, Inference, public_folder, undisturbed

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180), pytest.mark.cluster(**SITE)]

FATES = {
    "evict": r"^Evicted: ",
    "preempt": r"Preempt",
    "delete": r"gone|deleted|killed from outside",
    "vanish": r"^the pod is gone",
    "kill": r"^killed from outside \(SIGKILL\)",
}


@pytest.fixture(scope="module")
def calm() -> list[tuple[object, ...]]:
    return undisturbed()


@pytest.fixture
def long_at_work(monkeypatch) -> None:
    """For who disturbs a pod at work: it is there still when a busy machine comes to do it."""
    monkeypatch.setattr("tests.kubernetes.inference.SECONDS_PER_REPLY", 0.25)


@pytest.fixture(params=["waiting", "deferred"])
def inference(request, cluster, monkeypatch) -> Iterator[Inference]:
    with public_folder() as folder:
        yield Inference(folder, cluster, monkeypatch, deferrable=request.param == "deferred")


def only_environment(pod):
    return {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}


def test_an_undisturbed_pod_publishes_what_a_worker_does(inference, calm):
    inference.succeed()

    assert inference.published() == calm
    assert len(inference.asked()) == QUESTIONS


@pytest.mark.usefixtures("long_at_work")
@pytest.mark.parametrize("fate", FATES)
def test_a_pod_that_is_taken_away_costs_a_try_and_no_number(inference, calm, fate):
    first = inference.start()
    getattr(inference.cluster, fate)(inference.wait_for_answers(), namespace=NAMESPACE)

    error = first.end()
    lost = inference.lost()
    inference.succeed()

    assert isinstance(error, MayPass)
    assert re.search(FATES[fate], str(error)), error
    assert inference.published() == calm
    assert inference.asked_twice() <= lost


@pytest.mark.usefixtures("long_at_work")
@pytest.mark.leaves_pods  # nobody is there to say that it has ended
def test_a_node_that_does_not_answer_any_more_is_waited_for_no_longer_than_the_pod_may_take(inference):
    if not inference.deferrable:
        pytest.skip("while the task itself waits, its process is ended by Airflow; here is none")
    first = inference.start(execution_timeout=timedelta(seconds=25))
    inference.wait_for_answers()
    inference.cluster.lose_node("cpu-1")

    error = first.end()

    assert type(error) is AirflowException
    assert "execution_timeout" in str(error)
    (pod,) = inference.cluster.pods()
    assert "deletionTimestamp" in pod["metadata"]


@pytest.mark.usefixtures("long_at_work")
def test_memory_that_is_not_enough_is_tried_once_more_with_half_of_it(inference, calm):
    first = inference.start({"memory_gib": 1})
    inference.cluster.kill_for_memory(inference.wait_for_answers(), namespace=NAMESPACE)
    assert isinstance(error := first.end(), MayPass)
    assert "out of memory: it needed more than its limit (1024Mi); the next try reads half" in str(error)

    second = inference.start({"memory_gib": 1})
    inference.wait_for_answers(len(inference.asked()) + 1)
    (pod,) = inference.cluster.pods()

    assert only_environment(pod)["LLM_EVAL_MEMORY_SHARE"] == "0.5"
    assert second.end() is None
    assert inference.published() == calm


@pytest.mark.usefixtures("long_at_work")
def test_memory_that_is_not_enough_a_second_time_ends_the_tries(inference):
    errors = []
    for _ in range(2):
        trying = inference.start({"memory_gib": 1})
        inference.cluster.kill_for_memory(inference.wait_for_answers(len(inference.asked()) + 1), namespace=NAMESPACE)
        errors.append(trying.end())

    assert isinstance(errors[1], AirflowFailException)
    assert "for the second time" in str(errors[1])


def test_a_stage_that_ends_with_bad_input_is_not_tried_again(inference):
    run = storage.read_json(f"{inference.address}/run.json")
    storage.write_json(f"{inference.address}/run.json", {**run, "weights": "other"})

    error = inference.start().end()

    assert isinstance(error, AirflowFailException)
    assert str(error).startswith("model 'canned': what answers has changed since run")


def test_a_stage_that_fails_has_its_own_last_word_as_the_reason(inference):
    error = inference.start(run_uri=inference.address.replace("/colours/", "/gone/")).end()

    assert isinstance(error, AirflowException)
    assert "gone" in str(error)
    assert "Pod llm-eval-infer" not in str(error)


def test_an_image_that_never_comes_says_so(inference):
    inference.cluster.images.refuse(IMAGE, "manifest unknown")

    error = inference.start().end()

    assert type(error) is AirflowException
    assert re.search(r"^the pod did not start: (ErrImagePull|ImagePullBackOff): .*manifest unknown", str(error))


def test_an_image_that_is_late_is_waited_for(inference, calm):
    inference.cluster.images.refuse(IMAGE, "i/o timeout", seconds=1.0)

    inference.succeed()

    assert inference.published() == calm


def test_an_image_that_is_too_late_may_come_with_the_next_try(inference, calm):
    inference.cluster.images.refuse(IMAGE, "i/o timeout")

    error = inference.start(startup_timeout_seconds=5).end()
    inference.cluster.images.refuse(IMAGE, seconds=0)  # the registry is well again
    inference.succeed()

    assert isinstance(error, MayPass)
    assert "i/o timeout" in str(error)
    assert inference.published() == calm


def test_gpus_that_no_node_has_are_named(inference):
    error = inference.start({"gpus": 8}, schedule_timeout_seconds=5).end()

    assert isinstance(error, MayPass)
    assert re.search(r"^no node took the pod: .*Insufficient nvidia.com/gpu", str(error))


@pytest.mark.parametrize(
    ("method", "pattern", "status"),
    [
        ("POST", "/pods", 500),
        ("POST", "/pods", 409),
        ("POST", "/pods", 429),
        ("GET", "/pods/", 503),
        ("GET", "/log", 500),
        ("DELETE", "/pods/", 500),
    ],
)
def test_a_server_that_stumbles_costs_nothing(inference, calm, method, pattern, status):
    inference.cluster.faults.fail(method, pattern, status, times=2, retry_after_seconds=1)

    assert inference.start().end() is None

    assert inference.published() == calm
    assert len(inference.asked()) == QUESTIONS


def test_a_log_whose_connection_is_cut_costs_nothing(inference, calm):
    inference.cluster.faults.cut_logs(1, times=2)

    assert inference.start().end() is None

    assert inference.published() == calm
    assert len(inference.asked()) == QUESTIONS


@pytest.mark.usefixtures("long_at_work")
def test_a_pod_is_left_to_its_work_while_kubernetes_is_away_and_found_again(inference, calm):
    first = inference.start()
    name = inference.wait_for_answers()
    inference.cluster.faults.fail("GET", "/pods/", 503, times=10_000)

    error = first.end()
    left = [pod["metadata"]["name"] for pod in inference.cluster.pods()]
    inference.cluster.faults.end()
    inference.succeed()

    assert isinstance(error, MayPass)
    assert left == [name]
    assert inference.published() == calm
    assert len(inference.asked()) == QUESTIONS


@pytest.mark.usefixtures("long_at_work")
def test_a_task_that_somebody_ends_takes_its_pod_along(inference):
    trying = inference.start()
    inference.wait_for_answers()

    trying.kill()

    inference.cluster.until(lambda: not inference.cluster.pods(), "no pod")
    assert trying.end() is not None


def test_a_pod_that_ended_well_while_nobody_watched_is_not_run_again(inference, calm):
    inference.abandon()
    inference.cluster.until(lambda: inference.cluster.pods()[0]["status"]["phase"] == "Succeeded", "the pod's end")

    assert inference.start().end() is None

    assert inference.published() == calm
    assert len(inference.asked()) == QUESTIONS


def test_a_pod_whose_task_was_lost_is_found_again(inference, calm):
    inference.abandon()
    inference.wait_for_answers()

    assert inference.start().end() is None

    assert inference.published() == calm
    assert len(inference.asked()) == QUESTIONS


def test_whoever_has_no_role_is_told_which_one_is_missing(inference):
    inference.kubeconfig = inference.cluster.kubeconfig_of("llm-eval-stage")

    error = inference.start().end()

    assert isinstance(error, AirflowFailException)
    assert "403" in str(error)
    assert "include/kubernetes/rbac.yaml" in str(error)
