"""The pods that live, and what is done to them by others than their containers."""

from __future__ import annotations

import asyncio

from tests.kubernetes.emulator.containers import Container
from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.events import tell
from tests.kubernetes.emulator.machine import Machine
from tests.kubernetes.emulator.pods import Pod
from tests.kubernetes.emulator.scheduling import lose
from tests.kubernetes.emulator.statuses import Ending
from tests.kubernetes.emulator.store import Manifest
from tests.kubernetes.emulator.times import in_objects, now

EVICTED = Ending("Evicted", "The node was low on resource: memory.", "TerminationByKubelet")
PREEMPTED = Ending("Preempted", "Preempted by a pod with a higher priority", "PreemptionByScheduler")


class Kubelet:
    """Of all nodes. For the event loop of the server."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._pods: dict[str, Pod] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def begin(self, manifest: Manifest) -> None:
        self._pods[manifest["metadata"]["uid"]] = Pod(manifest, self.machine)

    def pod(self, namespace: str, name: str) -> Pod:
        """Raises ApiError 404."""
        return self._pods[self.machine.store.get("pods", namespace, name)["metadata"]["uid"]]

    def container(self, pod: Pod, name: str | None) -> Container:
        """Raises ApiError 400 if it has none of this name, or more than one and no name is given."""
        if name is None and len(pod.main) > 1:
            names = " ".join(c.name for c in pod.main)
            raise ApiError(400, f"a container name must be specified, choose one of: [{names}]")
        wanted = name or pod.main[0].name
        found = next((c for c in pod.containers if c.name == wanted), None)
        if found is None:
            raise ApiError(400, f"container {name} is not valid for pod {pod.manifest['metadata']['name']}")
        return found

    async def delete(self, pod: Pod, grace_seconds: int | None, ending: Ending | None = None) -> None:
        """Answers at once unless nothing has to be waited for, as an API server does: the rest comes later."""
        metadata = pod.manifest["metadata"]
        seconds = pod.spec["terminationGracePeriodSeconds"] if grace_seconds is None else grace_seconds
        if pod.has_ended or "nodeName" not in pod.spec:
            seconds = 0
        is_first = "deletionTimestamp" not in metadata
        metadata.update(deletionTimestamp=in_objects(now()), deletionGracePeriodSeconds=seconds)
        if pod.is_lost and seconds:
            self.machine.store.modified("pods", pod.manifest)  # nobody is there who could end it, so it stays
        elif is_first or seconds == 0:
            leaving = asyncio.create_task(self._leave(pod, seconds, ending))
            self._leaving[metadata["uid"]] = leaving
            if seconds == 0:
                await asyncio.shield(leaving)

    async def evict(self, pod: Pod) -> None:
        await pod.end(EVICTED, 0)

    async def preempt(self, pod: Pod) -> None:
        """It is told why, and deleted with its grace period."""
        tell(self.machine.store, pod.manifest, "Warning", PREEMPTED.reason, PREEMPTED.message)
        await self.delete(pod, None, PREEMPTED)

    async def vanish(self, pod: Pod) -> None:
        """Its object is gone in the same moment, as when the garbage collector takes a lost node's pods away."""
        await self._leave(pod, 0)

    async def lose_node(self, name: str) -> None:
        """Containers end, and their pods say for ever what they said last."""
        node = self.machine.store.get("nodes", None, name)
        lose(node)
        self.machine.store.modified("nodes", node)
        await asyncio.gather(*(pod.lose() for pod in self._pods.values() if pod.spec.get("nodeName") == name))

    async def close(self) -> None:
        await asyncio.gather(*(self._leave(pod, 0) for pod in list(self._pods.values())))
        await asyncio.gather(*self._leaving.values())

    async def _leave(self, pod: Pod, grace_seconds: float, ending: Ending | None = None) -> None:
        uid = pod.manifest["metadata"]["uid"]
        await pod.leave(grace_seconds, ending)
        self._pods.pop(uid, None)
        self._leaving.pop(uid, None)
