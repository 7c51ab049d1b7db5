"""A real cluster as tests see it: a namespace of their own in it, Airflow's rights there, and what may happen to pods.

The methods are those of the emulator's cluster as far as a real one can be asked for the same; what only the machine
itself can do (killing a process from outside) is for the one-node cluster alone.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from kubernetes import client as k8s
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from kubernetes.stream import stream
from kubernetes.utils import FailToCreateError, create_from_dict

from llm_eval import settings
from tests.kubernetes.real.control_plane import kubeconfig

Value = TypeVar("Value")
Manifest = dict[str, Any]
SHIPPED = settings.HOME / "include" / "kubernetes"
LAUNCHER = "llm-eval-launcher"
TOKEN_SECONDS = 6 * 3600
WAIT_SECONDS = 120.0
LEAVE_SECONDS = 60.0


class RealCluster:
    """A context manager: inside there is a namespace with all that include/kubernetes/ has, outside it is gone."""

    def __init__(self, administrator: str, folder: Path, image: str, root: Path, is_ours: bool) -> None:
        """`root`: a folder that is the same one here and on every node. `is_ours`: its node is this machine."""
        self.image, self.root, self.is_ours = image, root, is_ours
        self.namespace = f"llm-eval-test-{secrets.token_hex(4)}"
        self._folder = folder
        self._client = new_client_from_config(administrator)
        self._core, self._scheduling = k8s.CoreV1Api(self._client), k8s.SchedulingV1Api(self._client)
        self._priorities: list[str] = []

    def __enter__(self) -> Self:
        shipped = [document for path in sorted(SHIPPED.glob("*.yaml")) for document in _documents(path)]
        for document in sorted(shipped, key=lambda document: document["kind"] != "Namespace"):
            self._create(_moved(document, self.namespace))
        self.until(lambda: self._has_account("default"), "the namespace's own account")
        return self

    def __exit__(self, *_: object) -> None:
        self._core.delete_namespace(self.namespace)
        for name in self._priorities:
            self._scheduling.delete_priority_class(name)
        self._client.close()

    def kubeconfig_of(self, account: str) -> Path:
        """Of one that include/kubernetes/rbac.yaml names: it may do what that file says."""
        asked = {"spec": {"audiences": [], "expirationSeconds": TOKEN_SECONDS}}
        token = self._core.create_namespaced_service_account_token(account, self.namespace, asked).status.token
        server = self._client.configuration
        cluster: Manifest = {"server": server.host, "insecure-skip-tls-verify": not server.verify_ssl}
        if server.ssl_ca_cert and server.verify_ssl:
            cluster["certificate-authority-data"] = base64.b64encode(Path(server.ssl_ca_cert).read_bytes()).decode()
        path = self._folder / f"{account}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(kubeconfig(cluster, token, self.namespace))
        return path

    def pods(self) -> list[Manifest]:
        return [self._plain(pod) for pod in self._core.list_namespaced_pod(self.namespace).items]

    def pod(self, name: str) -> Manifest:
        return self._plain(self._core.read_namespaced_pod(name, self.namespace))

    def scheduled(self) -> set[str]:
        """Names of all pods that have had a place on a node, those that are gone included, for an hour."""
        found = self._core.list_namespaced_event(self.namespace, field_selector="reason=Scheduled").items
        return {str(event.involved_object.name) for event in found}

    def create(self, pod: Manifest) -> str:
        """Returns the pod's name."""
        return str(self._core.create_namespaced_pod(self.namespace, pod).metadata.name)

    def delete(self, name: str, grace_seconds: int | None = None) -> None:
        """As somebody does by hand. Returns at once; without `grace_seconds` the pod's own count."""
        more = {} if grace_seconds is None else {"grace_period_seconds": grace_seconds}
        self._core.delete_namespaced_pod(name, self.namespace, **more)

    def vanish(self, name: str) -> None:
        """The object is gone in one moment, as when the pods of a node that went are collected."""
        self.delete(name, grace_seconds=0)

    def evict(self, name: str) -> None:
        """Fill its volume at /tmp over the limit: the kubelet then ends the pod, which has failed and stays."""
        self._run(name, "with open('/tmp/filling', 'wb') as file: file.write(bytes(100 << 20))")

    def drain(self, name: str) -> None:
        """What `kubectl drain` does, and `kubectl uncordon` once the pod is gone: its node takes no pods meanwhile."""
        assert self.is_ours, "others may be using the node"
        node = self.pod(name)["spec"]["nodeName"]
        self._core.patch_node(node, {"spec": {"unschedulable": True}})
        try:
            groups = k8s.ApisApi(self._client).get_api_versions().groups
            version = next(group.preferred_version.group_version for group in groups if group.name == "policy")
            eviction = {"apiVersion": version, "kind": "Eviction", "metadata": {"name": name}}
            self._core.create_namespaced_pod_eviction(name, self.namespace, eviction)
            self.until(lambda: name not in {pod["metadata"]["name"] for pod in self.pods()}, "the pod is gone")
        finally:
            self._core.patch_node(node, {"spec": {"unschedulable": None}})

    def kill(self, name: str) -> None:
        """Send PID 1 of the pod's container SIGKILL, from outside: inside, the kernel keeps it away."""
        assert self.is_ours, "only the node's own root can do this"
        for process in self._processes(name):
            os.kill(process, signal.SIGKILL)

    def add_priority(self, name: str, value: int) -> None:
        """Until the cluster's end."""
        kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        self._create({**kind, "metadata": {"name": name}, "value": value})

    def leaks(self, seconds: float = LEAVE_SECONDS) -> list[str]:
        """Pods that are not gone in time, in words: what a test has left. They are removed then."""
        with suppress(AssertionError):
            self.until(lambda: not self.pods(), "no pod is left", seconds)
        left = self.pods()
        for pod in left:
            with suppress(ApiException):
                self.vanish(pod["metadata"]["name"])
        return [f"{pod['metadata']['name']}: {pod['status']['phase']}" for pod in left]

    def until(self, condition: Callable[[], Value], what: str, seconds: float = WAIT_SECONDS) -> Value:
        """The condition's first true value. Fails if there is none in time."""
        limit = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < limit, f"not in {seconds:g} s: {what}"
            time.sleep(0.2)
        return value

    def _processes(self, pod: str) -> list[int]:
        """Of the pod's container, found by its control group."""
        (status,) = self.pod(pod)["status"]["containerStatuses"]
        container = status["containerID"].rpartition("/")[2]
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # ended meanwhile
                if container in (folder / "cgroup").read_text():
                    found.append(int(folder.name))
        return found

    def _run(self, pod: str, script: str) -> None:
        call = self._core.connect_get_namespaced_pod_exec
        said = stream(call, pod, self.namespace, command=["python", "-c", script], stdout=True, stderr=True)
        assert not said, said

    def _has_account(self, name: str) -> bool:
        try:
            self._core.read_namespaced_service_account(name, self.namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return False
        return True

    def _create(self, document: Manifest) -> None:
        """A priority, which belongs to no namespace, may be there already; then it stays when we go."""
        try:
            create_from_dict(self._client, document)
        except FailToCreateError as error:
            if document["kind"] != "PriorityClass" or [each.status for each in error.api_exceptions] != [409]:
                raise
        else:
            if document["kind"] == "PriorityClass":
                self._priorities.append(document["metadata"]["name"])

    def _plain(self, pod: k8s.V1Pod) -> Manifest:
        """As Kubernetes writes it."""
        return dict(self._client.sanitize_for_serialization(pod))


def _documents(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def _moved(document: Manifest, namespace: str) -> Manifest:
    """The document for another namespace than the one it was written for."""
    if document["kind"] == "Namespace":
        document["metadata"]["name"] = namespace
        # The tests' root is a folder of the node, which `restricted` refuses.
        document["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged"
    elif "namespace" in document["metadata"]:
        document["metadata"]["namespace"] = namespace
    for subject in document.get("subjects", []):
        subject["namespace"] = namespace
    return document
