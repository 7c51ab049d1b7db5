"""Containers are real processes, kept apart as far as this machine can."""

import signal
from pathlib import Path

import pytest

from tests.kubernetes.conftest import status_at_the_end
from tests.kubernetes.emulator import Cluster, Image, manifests
from tests.kubernetes.emulator.isolation import FEATURES, best_isolation, can_isolate


def needs(feature):
    missing = feature not in FEATURES[best_isolation()]
    return pytest.mark.skipif(missing, reason=f"containers of this machine have no {feature}")


def terminated(status, place="containerStatuses"):
    return status[place][0]["state"]["terminated"]


def exists(pid):
    """Whether a process of this machine is there, and not one that has ended and waits to be asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


AS_A_SITE_HAS_IT = {
    "securityContext": {"runAsUser": 1000, "runAsNonRoot": True},
    "volumes": [{"name": "cache", "emptyDir": {}}],
    "container": {
        "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    },
}


def test_every_image_has_python_and_this_package(ended):
    status = ended("python -m llm_eval --help")

    assert status["phase"] == "Succeeded"
    assert any("Usage: python -m llm_eval" in line for line in status["log"])


@needs("users")
def test_any_user_can_run_it_with_a_read_only_root(ended):
    script = "python -m llm_eval --help > /dev/null && id -u; touch /x /usr/x; touch /cache/x"
    status = ended(script, **AS_A_SITE_HAS_IT)

    assert status["phase"] == "Succeeded"
    assert status["log"][0] == "1000"
    assert [line.rpartition(": ")[2] for line in status["log"][1:]] == ["Read-only file system"] * 2


@needs("users")
def test_rights_are_given_up(ended):
    hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

    status = ended("grep -E 'CapBnd|CapEff|NoNewPrivs' /proc/self/status", container={"securityContext": hardened})

    assert [line.split() for line in status["log"]] == [
        ["CapEff:", "0" * 16],
        ["CapBnd:", "0" * 16],
        ["NoNewPrivs:", "1"],
    ]


@pytest.mark.parametrize(
    "isolation",
    [
        pytest.param(kind, marks=pytest.mark.skipif(not can_isolate(kind), reason=f"no {kind} on this machine"))
        for kind in FEATURES
    ],
)
def test_a_container_runs_with_what_isolation_there_is(isolation, tmp_path):
    with Cluster(tmp_path, isolation=isolation) as cluster:
        status = status_at_the_end(cluster, "echo $$; hostname; python -c 'import llm_eval'; exit 3")

    pid, host = status["log"]
    assert terminated(status)["exitCode"] == 3
    assert ((pid, host) == ("1", "pod")) == (isolation != "none")


@needs("mounts")
def test_a_container_sees_nothing_of_this_machine_but_the_system_and_its_image(ended, tmp_path):
    (tmp_path / "secret").write_text("")

    status = ended(f"ls -A /tmp /home /root {tmp_path}; ls -d /usr /proc/1")

    assert f"ls: cannot access '{tmp_path}': No such file or directory" in status["log"]
    assert status["log"][-2:] == ["/proc/1", "/usr"]


@needs("exec")
def test_a_container_sees_no_process_but_its_own(ended):
    assert ended("sleep 9 & echo /proc/[0-9]*")["log"] == ["/proc/1 /proc/2"]


@needs("host names")
def test_a_container_goes_by_its_pods_name(ended):
    assert ended("hostname; echo $HOSTNAME", name="evals-0")["log"] == ["evals-0", "evals-0"]


def test_a_command_that_is_not_there_is_told_as_kubernetes_tells_it(ended):
    status = ended("", container={"command": ["no-such-program"]})

    assert status["phase"] == "Failed"
    assert (terminated(status)["exitCode"], terminated(status)["reason"]) == (128, "StartError")
    assert '"no-such-program": executable file not found' in terminated(status)["message"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo why > /dev/termination-log; exit 1", "why\n"),
        ("echo last words; exit 1", "last words"),
        ("echo all is well", None),
    ],
)
@needs("mounts")
def test_a_container_may_say_why_it_ended(ended, script, message):
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}

    assert terminated(ended(script, container=policy)).get("message") == message


def test_init_containers_run_first_and_one_by_one(ended):
    first = [
        {"name": name, "image": "i", "command": ["sh", "-c", f"exit {code}"]} for name, code in [("a", 0), ("b", 4)]
    ]

    status = ended("echo never", initContainers=first)

    assert status["phase"] == "Failed"
    assert [s["state"].get("terminated", {}).get("exitCode") for s in status["initContainerStatuses"]] == [0, 4]
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


@needs("mounts")
def test_a_container_that_fails_is_started_again_if_its_pod_says_so(ended):
    volume = {"volumes": [{"name": "v", "emptyDir": {}}]}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}

    status = ended("mkdir /v/first", name="a", restartPolicy="OnFailure", container=mount, **volume)
    again = ended(
        "mkdir /v/first && exit 7; echo again", name="b", restartPolicy="OnFailure", container=mount, **volume
    )

    assert (status["phase"], status["containerStatuses"][0]["restartCount"]) == ("Succeeded", 0)
    assert (again["phase"], again["containerStatuses"][0]["restartCount"]) == ("Succeeded", 1)
    assert again["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 7
    assert again["log"][-1] == "again"


@pytest.mark.cluster(backoff_seconds=10)
def test_a_pod_whose_container_waits_for_its_next_start_still_runs(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("exit 1", restartPolicy="Always"))

    cluster.until(lambda: waits(cluster, "CrashLoopBackOff"), "it waits")

    status = cluster.pod("pod")["status"]
    assert (status["phase"], status["containerStatuses"][0]["restartCount"]) == ("Running", 0)
    cluster.delete("pod")


def test_a_pod_is_ended_at_its_deadline(ended):
    status = ended("trap 'exit 0' TERM; sleep 60 & wait", activeDeadlineSeconds=8)

    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert terminated(status)["exitCode"] == 0


def test_more_memory_than_the_limit_is_the_end(ended):
    script = "python -c 'x = bytearray(200 << 20); import time; time.sleep(60)'"

    status = ended(script, container={"resources": {"limits": {"memory": "100Mi"}}})

    assert (terminated(status)["exitCode"], terminated(status)["reason"]) == (137, "OOMKilled")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 137), (signal.SIGTERM, 143)])
def test_a_signal_from_outside_is_an_exit_code(api, cluster, number, code):
    # Without a handler, the kernel keeps PID 1 from every signal but SIGKILL.
    script = "import signal, time; signal.signal(15, lambda *_: exit(143)); print('ready', flush=True); time.sleep(60)"
    api.create_namespaced_pod("default", manifests.pod("", container={"command": ["python", "-c", script]}))
    cluster.until(lambda: cluster.log("pod") == ["ready"] if running(cluster) else False, "it is ready")

    cluster.kill("pod", number=number)

    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Failed", "it has failed")
    assert terminated(cluster.pod("pod")["status"])["exitCode"] == code
    cluster.delete("pod")


def running(cluster):
    return cluster.pod("pod")["status"]["phase"] == "Running"


@needs("exec")
def test_what_a_container_leaves_running_ends_with_it(api, cluster):
    script = "trap 'exit 0' TERM; setsid sleep 600 & sleep 600 & wait"
    api.create_namespaced_pod("default", manifests.pod(script))
    processes = cluster.until(lambda: len(p := cluster.processes("pod")) >= 3 and p, "it has children")

    cluster.kill("pod", number=signal.SIGTERM)

    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it has ended")

    assert not any(map(exists, processes))
    cluster.delete("pod")


@pytest.mark.cluster(images={"good": Image(user=1000), "registry/*": Image(command=("echo", "its own command"))})
def test_an_image_has_a_command_and_a_user(ended):
    arguments = ended("", container={"image": "registry/x:1", "command": None, "args": ["and", "$(HOSTNAME)"]})
    status = ended("true", container={"image": "good", "securityContext": {"runAsNonRoot": True}})

    assert arguments["log"] == ["its own command and pod"]
    assert status["phase"] == "Succeeded"


def test_root_is_refused_where_it_must_not_be(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("true", securityContext={"runAsNonRoot": True}))

    waiting = cluster.until(lambda: waits(cluster, "CreateContainerConfigError"), "it waits")

    assert waiting["message"] == "container has runAsNonRoot and image will run as root"
    cluster.delete("pod")


def waits(cluster, reason):
    """How its first container waits, if it does so for this reason."""
    for status in cluster.pod("pod")["status"].get("containerStatuses", []):
        waiting = status["state"].get("waiting", {})
        return waiting if waiting.get("reason") == reason else None


def test_an_image_that_does_not_come_is_tried_again(api, cluster):
    cluster.images.refuse("registry/*", "toomanyrequests: rate limit")
    api.create_namespaced_pod("default", manifests.pod("true"))

    first = cluster.until(lambda: waits(cluster, "ErrImagePull"), "it cannot be pulled")
    then = cluster.until(lambda: waits(cluster, "ImagePullBackOff"), "it waits")
    cluster.images.allow("registry/*")
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it came")

    assert "rate limit" in first["message"]
    assert then["message"].startswith('Back-off pulling image "registry/image:1": ')
    assert "rate limit" in then["message"]
    cluster.delete("pod")


@pytest.mark.cluster(images={"registry/*": Image(pull_seconds=5)})
def test_a_big_image_takes_its_time(api, cluster):
    api.create_namespaced_pod("default", manifests.pod("true"))

    cluster.until(lambda: waits(cluster, "ContainerCreating"), "it is being pulled")
    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it came")
    cluster.delete("pod")
