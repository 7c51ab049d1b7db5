"""A Kubernetes cluster of a test's own: an API server on a free port of 127.0.0.1, and containers that really run.

    with Cluster(tmp_path, nodes=[Node("gpu-1", gpus=2)]) as cluster:
        KubernetesPodOperator(..., config_file=str(cluster.kubeconfig)).execute(context)

The server has a thread and an event loop of its own, so that tests need know nothing of either; whoever has the
kubeconfig, in this process or another, is served. Containers end with this process, however that ends.
"""

from __future__ import annotations

import base64
import copy
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from aiohttp import web

from llm_eval.airflow.processes import Guard
from tests.kubernetes.emulator.access import ADMINISTRATOR, Access
from tests.kubernetes.emulator.faults import Faults
from tests.kubernetes.emulator.images import Images
from tests.kubernetes.emulator.isolation import FEATURES, Feature, best_isolation
from tests.kubernetes.emulator.kubeconfig import Kubeconfigs
from tests.kubernetes.emulator.kubelet import Kubelet
from tests.kubernetes.emulator.leaks import left_on_the_machine
from tests.kubernetes.emulator.loops import LoopThread
from tests.kubernetes.emulator.machine import Machine
from tests.kubernetes.emulator.pods import Pod
from tests.kubernetes.emulator.server import Request, Server
from tests.kubernetes.emulator.sites import DEFAULT, Site
from tests.kubernetes.emulator.store import Manifest, Store

Value = TypeVar("Value")
WAIT_SECONDS = 60.0  # long enough for a machine that has far more to do than it can
LOOK_SECONDS = 0.05
LEAVE_SECONDS = 15.0
HOST = "127.0.0.1"


class EmulatorError(Exception):
    """The emulator did not do what it should, whatever the test that used it says."""


class Cluster:
    def __init__(self, folder: Path, **site: Any) -> None:
        """`folder`: it makes one of its own in there, for kubeconfigs and what pods need. `site`: fields of Site."""
        self.site = Site(**site)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=folder))
        self.images = Images(self.site.images, self.site.image_environment)
        self.access = Access(yaml.safe_load_all(self.site.access.read_text())) if self.site.access else None
        isolation = self.site.isolation or best_isolation()
        self.features: frozenset[Feature] = FEATURES[isolation]
        """What works on this machine; tests that need more are to be skipped."""
        guard = Guard(os.environ) if isolation == "none" else None
        pauses = (self.site.start_seconds, self.site.backoff_seconds)
        self._machine = Machine(Store(), self.images, isolation, self.folder, *pauses, guard)
        self._kubelet = Kubelet(self._machine)
        self._server = Server(self._kubelet, self.access)

    def __enter__(self) -> Self:
        self._loop = LoopThread("kubernetes-emulator")
        self._loop.call(self._populate())
        self._port = self._loop.call(self._serve(port=0))
        self._kubeconfigs = Kubeconfigs(self.folder, f"http://{HOST}:{self._port}", self.site.namespaces[0])
        self._kubeconfigs.add(ADMINISTRATOR, self.access.administrators_token if self.access else None)
        for account, token in self.access.tokens.items() if self.access else ():
            self._kubeconfigs.add(account, token)
        return self

    def __exit__(self, *_: object) -> None:
        """Raises EmulatorError for what it did wrong itself: errors in its own code, containers that outlive it."""
        self._loop.call(self._close())
        self._loop.close()
        left = self._left_on_the_machine()
        if self._machine.guard:
            self._machine.guard.close()
        if self._machine.errors or left:
            first = self._machine.errors[0] if self._machine.errors else None
            raise EmulatorError(f"errors: {self._machine.errors!r}; left on this machine: {left}") from first

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self._kubeconfigs.path(ADMINISTRATOR)

    def kubeconfig_of(self, account: str) -> Path:
        """A service account's of the file `access`, which may do what its roles say."""
        return self._kubeconfigs.path(account)

    def renew_token(self, account: str) -> None:
        """The one before has expired. Clients that read their kubeconfig again have the new one."""
        assert self.access, "the cluster was made without `access`, so there are no tokens"
        self._kubeconfigs.write_token(account, self.access.renew(account))

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Meanwhile connections are refused, and those that there were are cut. Pods go on."""
        self._loop.call(self._runner.cleanup())
        try:
            yield
        finally:
            self._loop.call(self._serve(self._port))

    @property
    def faults(self) -> Faults:
        return self._server.faults

    @property
    def requests(self) -> Sequence[Request]:
        """All that were answered so far."""
        return tuple(self._server.requests)

    def pods(self, namespace: str | None = None) -> list[Manifest]:
        return self.objects("pods", namespace)

    def pod(self, name: str, namespace: str = DEFAULT) -> Manifest:
        """Raises ApiError 404."""
        return self._do(lambda: copy.deepcopy(self._store.get("pods", namespace, name)))

    def objects(self, resource: str, namespace: str | None = None) -> list[Manifest]:
        return self._do(lambda: copy.deepcopy(self._store.all(resource, namespace)))

    def events(self, pod: str) -> list[str]:
        """Reasons and messages of what was told about a pod of this name, in order."""
        found = [event for event in self.objects("events") if event["involvedObject"]["name"] == pod]
        return [f"{event['reason']}: {event['message']}" for event in found]

    def log(self, name: str, container: str | None = None, namespace: str = DEFAULT) -> list[str]:
        """What a container has said since its last start."""
        found = self._do(lambda: self._container(name, container, namespace).log.lines[:])
        return [line.text.decode() for line in found]

    def processes(self, name: str, container: str | None = None, namespace: str = DEFAULT) -> list[int]:
        """Ids of a container's processes, as this machine counts; PID 1 of the container is the first."""

        def look() -> list[int]:
            process = self._container(name, container, namespace).process
            return sorted(process.members(), key=lambda pid: pid != process.pid) if process else []

        return self._do(look)

    def add(self, resource: str, name: str, namespace: str | None = DEFAULT, **content: Any) -> Manifest:
        """For example `add("configmaps", "settings", data={"a": "b"})`."""
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        return self._do(lambda: copy.deepcopy(self._store.add(resource, {"metadata": metadata, **content})))

    def add_secret(self, name: str, values: Mapping[str, str], namespace: str = DEFAULT) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.add("secrets", name, namespace, data=data)

    def add_claim(self, name: str, namespace: str = DEFAULT) -> Path:
        """A volume claim, and the folder that it stands for. The folder is root's, as most storage gives it out."""
        self.add("persistentvolumeclaims", name, namespace, status={"phase": "Bound"})
        folder = self._machine.claims / namespace / name
        folder.mkdir(parents=True)
        return folder

    def evict(self, name: str, namespace: str = DEFAULT) -> None:
        """The node ran out of something: the containers are killed, the pod has failed and stays."""
        self._loop.call(self._kubelet.evict(self._pod(name, namespace)))

    def preempt(self, name: str, namespace: str = DEFAULT) -> None:
        """A pod with a higher priority takes its place: it is told why, and deleted with its grace period."""
        self._loop.call(self._kubelet.preempt(self._pod(name, namespace)))

    def delete(self, name: str, grace_seconds: int | None = None, namespace: str = DEFAULT) -> None:
        """As somebody does by hand. Returns at once; without `grace_seconds` the pod's own count."""
        self._loop.call(self._kubelet.delete(self._pod(name, namespace), grace_seconds))

    def vanish(self, name: str, namespace: str = DEFAULT) -> None:
        """Pod and object are gone in one moment, as when the pods of a node that went are collected."""
        self._loop.call(self._kubelet.vanish(self._pod(name, namespace)))

    def lose_node(self, name: str) -> None:
        """It does not answer any more: containers end, pods say for ever what they said last, logs are errors."""
        self._loop.call(self._kubelet.lose_node(name))

    def kill(
        self, name: str, container: str | None = None, number: int = signal.SIGKILL, namespace: str = DEFAULT
    ) -> None:
        """Sends PID 1 of a container a signal, from outside."""
        process = self._do(lambda: self._container(name, container, namespace).process)
        assert process, f"{name} has no process yet"
        process.signal(number)

    def kill_for_memory(self, name: str, container: str | None = None, namespace: str = DEFAULT) -> None:
        self._do(lambda: self._container(name, container, namespace).kill_for_memory())

    def forget_history(self) -> None:
        """Watches from an older version are told 410, as after etcd's compaction."""
        self._do(self._store.forget_history)

    def leaks(self, seconds: float = LEAVE_SECONDS) -> list[str]:
        """Pods that are not gone in time, in words: what a test has left."""
        with suppress(AssertionError):
            self.until(lambda: not self.pods(), "no pod is left", seconds)
        return [f"{pod['metadata']['name']}: {pod['status']['phase']}" for pod in self.pods()]

    def until(self, condition: Callable[[], Value], what: str, seconds: float = WAIT_SECONDS) -> Value:
        """The condition's first true value. Fails if there is none in time."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"not in {seconds:g} s: {what}"
            time.sleep(LOOK_SECONDS)
        return value

    def _left_on_the_machine(self) -> list[str]:
        """What stays there: a process that was killed may take its time to go."""
        end = time.monotonic() + LEAVE_SECONDS
        while (left := left_on_the_machine(self.folder.name, self._machine.sessions)) and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        return left

    @property
    def _store(self) -> Store:
        return self._machine.store

    def _do(self, look: Callable[[], Value]) -> Value:
        async def there() -> Value:
            return look()

        return self._loop.call(there())

    def _pod(self, name: str, namespace: str) -> Pod:
        return self._do(lambda: self._kubelet.pod(namespace, name))

    def _container(self, name: str, container: str | None, namespace: str) -> Any:
        return self._kubelet.container(self._kubelet.pod(namespace, name), container)

    async def _populate(self) -> None:
        for namespace in self.site.namespaces:
            self._store.add("namespaces", {"metadata": {"name": namespace}, "status": {"phase": "Active"}})
        for node in self.site.nodes:
            self._store.add("nodes", node.manifest())
        for account in self.access.accounts if self.access else []:
            self._store.add("serviceaccounts", {"metadata": {"name": account.name, "namespace": account.namespace}})

    async def _serve(self, port: int) -> int:
        """`port`: 0 for any that is free. Returns the one that it is."""
        # Without `handler_cancellation`, whoever follows a log or watches would be served after it has left.
        options: dict[str, Any] = {"handler_cancellation": True, "shutdown_timeout": 1, "access_log": None}
        self._runner = web.AppRunner(self._server.application(), **options)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, port).start()
        return int(self._runner.addresses[0][1])

    async def _close(self) -> None:
        await self._kubelet.close()
        await self._runner.cleanup()
