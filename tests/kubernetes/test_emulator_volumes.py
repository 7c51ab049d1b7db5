"""What a pod is given: folders, secrets, settings."""

import pytest

from tests.conftest import CHECKOUT
from tests.kubernetes.emulator import manifests
from tests.kubernetes.test_emulator_containers import needs, terminated, waits

pytestmark = needs("mounts")


def mounted(path, **more):
    return {"volumeMounts": [{"name": "v", "mountPath": path, **more}]}


def volume(**source):
    return [{"name": "v", **source}]


def test_containers_of_a_pod_share_its_volumes(ended):
    first = {"name": "first", "image": "i", "command": ["sh", "-c", "echo hello > /out/x"], **mounted("/out")}

    status = ended("cat /in/x", initContainers=[first], volumes=volume(emptyDir={}), container=mounted("/in"))

    assert status["log"] == ["hello"]


@pytest.mark.parametrize("name", ["first", "second"])
def test_an_empty_volume_is_empty_for_each_pod(ended, name):
    status = ended("ls -A /v; touch /v/x", name=name, volumes=volume(emptyDir={}), container=mounted("/v"))

    assert (status["log"], status["phase"]) == ([], "Succeeded")


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({}, "65536"),  # what every container has, and PyTorch's workers run out of
        (
            {"volumes": volume(emptyDir={"medium": "Memory", "sizeLimit": "128Mi"}), "container": mounted("/dev/shm")},
            "131072",
        ),
    ],
)
def test_shared_memory_has_the_size_that_is_asked_for(ended, more, size):
    assert ended("df --output=size,fstype /dev/shm | tail -1", **more)["log"][0].split() == [size, "tmpfs"]


def test_a_claim_outlives_its_pods(ended, cluster):
    folder = cluster.add_claim("results")
    claim = {"volumes": volume(persistentVolumeClaim={"claimName": "results"}), "container": mounted("/results")}

    ended("echo 0.75 > /results/score", name="writer", **claim)
    status = ended("cat /results/score", name="reader", **claim)

    assert status["log"] == ["0.75"]
    assert (folder / "score").read_text() == "0.75\n"


@needs("users")
@pytest.mark.parametrize(("group", "phase"), [({}, "Failed"), ({"fsGroup": 2000}, "Succeeded")])
def test_a_claim_is_roots_unless_the_pod_names_a_group(ended, cluster, group, phase):
    cluster.add_claim("results")

    status = ended(
        "touch /results/x && stat -c %g /results/x",
        volumes=volume(persistentVolumeClaim={"claimName": "results"}),
        container=mounted("/results"),
        securityContext={"runAsUser": 1000, **group},
    )

    assert status["phase"] == phase
    assert status["log"] == (["2000"] if group else ["touch: cannot touch '/results/x': Permission denied"])


def test_a_folder_of_the_node_is_seen_where_it_is_mounted(ended, tmp_path):
    (tmp_path / "root").mkdir()
    root = str(tmp_path / "root")
    script = f"echo hello > {root}/x; ls -A {tmp_path}; touch {root}/new/x"

    status = ended(script, volumes=volume(hostPath={"path": root}), container=mounted(root))

    assert (tmp_path / "root" / "x").read_text() == "hello\n"
    assert status["log"][0] == "root"
    assert status["phase"] == "Failed"  # there is no folder `new` on either side


@pytest.mark.parametrize(("more", "said"), [({"readOnly": True}, "Read-only file system"), ({"subPath": "a/b"}, None)])
def test_a_mount_may_be_read_only_or_a_part_of_its_volume(ended, tmp_path, more, said):
    status = ended("touch /v/x", volumes=volume(hostPath={"path": str(tmp_path)}), container=mounted("/v", **more))

    assert [line.rpartition(": ")[2] for line in status["log"]] == ([said] if said else [])
    assert (tmp_path / "a" / "b" / "x").exists() == (said is None)


def test_volumes_lie_in_volumes(ended):
    volumes = [{"name": "outer", "emptyDir": {}}, {"name": "inner", "emptyDir": {}}]
    mounts = [{"name": "inner", "mountPath": "/tmp/cache"}, {"name": "outer", "mountPath": "/tmp"}]
    read_only = {"readOnlyRootFilesystem": True}

    status = ended(
        "touch /tmp/x /tmp/cache/y && find /tmp -type f",
        volumes=volumes,
        container={"volumeMounts": mounts, "securityContext": read_only},
    )

    assert sorted(status["log"]) == ["/tmp/cache/y", "/tmp/x"]


def test_secrets_and_settings_are_files(ended, cluster):
    cluster.add_secret("key", {"token": "s3cret"})
    cluster.add("configmaps", "settings", data={"a": "1", "b": "2"})
    settings = {"name": "settings", "items": [{"key": "a", "path": "deep/a.txt"}]}

    secret = ended(
        "cat /v/token; touch /v/x", name="a", volumes=volume(secret={"secretName": "key"}), container=mounted("/v")
    )
    chosen = ended("cd /v; find . -type f", name="b", volumes=volume(configMap=settings), container=mounted("/v"))

    assert secret["log"] == ["s3cret", "touch: cannot touch '/v/x': Read-only file system"][:1] or secret["log"][
        0
    ].startswith("s3cret")
    assert chosen["log"] == ["./deep/a.txt"]


def test_secrets_and_settings_are_environment(ended, cluster):
    cluster.add_secret("key", {"token": "s3cret"})
    cluster.add("configmaps", "settings", data={"a": "1"})
    container = {
        "envFrom": [
            {"configMapRef": {"name": "settings"}, "prefix": "SET_"},
            {"secretRef": {"name": "no", "optional": True}},
        ],
        "env": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "BOTH", "value": "$(SET_a) $(TOKEN) $(UNKNOWN)"},
        ],
    }

    assert ended("echo $BOTH $NAMESPACE $HOME", container=container)["log"] == ["1 s3cret $(UNKNOWN) default /root"]


@pytest.mark.parametrize(
    ("spec", "container", "reason"),
    [
        ({}, {"envFrom": [{"secretRef": {"name": "later"}}]}, "CreateContainerConfigError"),
        ({"volumes": volume(secret={"secretName": "later"})}, mounted("/v"), "ContainerCreating"),
    ],
)
def test_a_pod_waits_for_its_secret(api, cluster, spec, container, reason):
    api.create_namespaced_pod("default", manifests.pod("true", container=container, **spec))
    cluster.until(lambda: waits(cluster, reason), "it waits")
    assert any('secret "later" not found' in event for event in cluster.events("pod"))

    cluster.add_secret("later", {"a": "b"})

    cluster.until(lambda: cluster.pod("pod")["status"]["phase"] == "Succeeded", "it has run")
    cluster.delete("pod")


def test_the_sites_own_environment_is_in_every_image(ended):
    status = ended("echo $PATH; python -c 'import sys; print(sys.path[1])'")

    assert status["log"][1].endswith(str(CHECKOUT))
    assert terminated(status)["exitCode"] == 0
