"""Logs: all of them, a part of them, and while they are being written."""

from datetime import datetime, timedelta

import pytest
from kubernetes.client.exceptions import ApiException

from tests.kubernetes.emulator import manifests
from tests.kubernetes.emulator.logs import Line, LogWish
from tests.kubernetes.emulator.times import now
from tests.kubernetes.test_emulator_containers import needs, waits

SLOWLY = "for i in 1 2 3; do echo line $i; sleep 0.3; done; printf 'no end'"


@pytest.fixture
def log(api, cluster):
    """The lines of the pod `pod`'s log that a request asks for."""

    def read(**query):
        # The client makes a str of bytes by `str()` when it is left to read them itself.
        response = api.read_namespaced_pod_log("pod", "default", _preload_content=False, **query)
        return response.data.decode().splitlines()

    yield read
    cluster.delete("pod", grace_seconds=0)


def start(api, cluster, script, **more):
    api.create_namespaced_pod("default", manifests.pod(script, **more))
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] != "Pending", "it runs")


def test_a_log_is_followed_to_the_end(api, cluster, log):
    start(api, cluster, SLOWLY)

    assert log(follow=True) == ["line 1", "line 2", "line 3", "no end"]


def test_a_log_that_is_not_followed_is_what_there_is(api, cluster, log):
    start(api, cluster, "echo line 1; sleep 60")
    cluster.until(lambda: cluster.log("pod"), "it has begun")

    assert log() == ["line 1"]


def test_lines_carry_their_times(api, cluster, log):
    start(api, cluster, "for i in 1 2 3; do echo line $i; sleep 2; done")

    stamped = [line.split(" ", 1) for line in log(follow=True, timestamps=True)]

    assert [text for _, text in stamped] == ["line 1", "line 2", "line 3"]
    times = [datetime.fromisoformat(stamp[:26] + "+00:00") for stamp, _ in stamped]
    assert times == sorted(times)
    assert (times[-1] - times[0]).total_seconds() > 0.3


def test_the_last_lines_can_be_asked_for(api, cluster, log):
    start(api, cluster, "echo early; echo late; echo later")
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it has ended")

    assert log(tail_lines=1) == ["later"]
    assert log(tail_lines=2, since_seconds=60) == ["late", "later"]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ({}, 0),
        ({"sinceSeconds": "30"}, 1),
        ({"sinceSeconds": "5"}, 3),
        ({"tailLines": "2"}, 1),
        ({"tailLines": "9"}, 0),
        ({"sinceSeconds": "30", "tailLines": "1"}, 2),
    ],
)
def test_a_request_begins_at_one_of_the_lines(query, first):
    lines = [Line(now() - timedelta(seconds=age), b"") for age in (60, 20, 10)]

    assert LogWish.of(query).first(lines) == first


def test_output_and_errors_are_one_log(api, cluster, log):
    start(api, cluster, "echo out; echo err >&2")

    assert log(follow=True) == ["out", "err"]


def test_long_lines_stay_whole(api, cluster, log):
    start(api, cluster, "head -c 300000 /dev/zero | tr '\\0' x; echo; echo after")

    whole, after = log(follow=True)
    assert (len(whole), after) == (300000, "after")


@needs("mounts")
def test_a_container_that_was_started_again_has_a_log_before(api, cluster, log):
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    pod = {"restartPolicy": "OnFailure", "volumes": [{"name": "v", "emptyDir": {}}], "container": mount}
    start(api, cluster, "mkdir /v/first && echo first && exit 1; echo second", **pod)
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it has succeeded")

    assert (log(previous=True), log()[-1]) == (["first"], "second")


def test_a_container_that_was_started_once_has_no_log_before(api, cluster, log):
    start(api, cluster, "echo first")

    with pytest.raises(ApiException, match="previous terminated container"):
        log(previous=True)


def test_a_container_that_has_not_begun_has_no_log(api, cluster, log):
    cluster.images.refuse("*")
    api.create_namespaced_pod("default", manifests.pod("true"))
    cluster.until(lambda: waits(cluster, "ImagePullBackOff"), "it waits")

    with pytest.raises(ApiException, match="is waiting to start") as refusal:
        log()

    assert refusal.value.status == 400


def test_one_of_several_containers_has_to_be_named(api, cluster, log):
    start(api, cluster, "echo base")
    with pytest.raises(ApiException, match="is not valid for pod") as refusal:
        log(container="other")

    assert refusal.value.status == 400
    assert log(container="base", follow=True) == ["base"]


def test_who_follows_and_leaves_is_not_served_any_more(api, cluster, log):
    start(api, cluster, "while sleep 0.1; do echo beat; done")
    stream = api.read_namespaced_pod_log("pod", "default", follow=True, _preload_content=False)
    assert stream.readline() == b"beat\n"
    assert not followed(cluster)

    stream.close()

    cluster.until(lambda: followed(cluster), "the request has ended")


def followed(cluster):
    return [request for request in cluster.requests if request.path.endswith("/log")]
