"""What goes wrong between a client and the API server."""

import json
import time

import pytest
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from urllib3.exceptions import MaxRetryError, ProtocolError

from tests.kubernetes.emulator import manifests


def test_so_many_requests_fail_as_asked(api, cluster):
    cluster.faults.fail("GET", "/pods", 503, times=2)

    refusals = []
    for _ in range(2):
        with pytest.raises(ApiException) as refusal:
            api.list_namespaced_pod("default")
        refusals.append((refusal.value.status, json.loads(refusal.value.body)["reason"]))

    assert refusals == [(503, "ServiceUnavailable")] * 2
    assert api.list_namespaced_pod("default").items == []
    assert [request.status for request in cluster.requests] == [503, 503, 200]


def test_a_fault_is_for_one_method_and_some_paths(api, cluster):
    cluster.faults.fail("POST", "/pods$", 500)
    cluster.faults.fail("GET", "labelSelector=a", 500)

    assert api.list_namespaced_pod("default").items == []
    with pytest.raises(ApiException):
        api.list_namespaced_pod("default", label_selector="a=b")


def test_too_many_requests_say_when_to_come_back(cluster):
    cluster.faults.fail("GET", "/pods", 429, retry_after_seconds=1)
    started = time.monotonic()

    with new_client_from_config(str(cluster.kubeconfig)) as client:
        assert CoreV1Api(client).list_namespaced_pod("default").items == []  # urllib3 obeys by itself

    assert time.monotonic() - started >= 1
    assert [request.status for request in cluster.requests] == [429, 200]


def test_an_answer_may_take_its_time(api, cluster):
    cluster.faults.delay("GET", "/pods", seconds=60)

    assert api.list_namespaced_pod("default", _request_timeout=3).items == []  # urllib3 has asked twice

    cluster.until(lambda: len(cluster.requests) >= 2, "both have ended")
    assert {request.status for request in cluster.requests} == {None, 200}


def test_a_log_is_cut_in_the_middle(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("echo 1; echo 2; echo 3"))
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it has ended")
    cluster.faults.cut_logs(lines=2)

    cut = api.read_namespaced_pod_log("pod", "default", _preload_content=False)
    with pytest.raises(ProtocolError):
        cut.read()
    whole = api.read_namespaced_pod_log("pod", "default", _preload_content=False).data

    assert whole == b"1\n2\n3\n"
    cluster.delete("pod")


def test_a_server_that_is_away_comes_back_with_all_it_had(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("sleep 1"))

    with cluster.unreachable(), pytest.raises(MaxRetryError):
        api.list_namespaced_pod("default")

    assert [pod.metadata.name for pod in api.list_namespaced_pod("default").items] == ["pod"]
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it went on")
    cluster.delete("pod")


def test_requests_are_written_down(api, cluster):
    with pytest.raises(ApiException):
        api.read_namespaced_pod("none", "default")

    (request,) = cluster.requests
    assert (request.method, request.path, request.status) == ("GET", "/api/v1/namespaces/default/pods/none", 404)
    assert request.agent.startswith("OpenAPI-Generator/")
