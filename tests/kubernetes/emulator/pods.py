"""The life of one pod, from its place on a node to its last container's end. One task of the event loop."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

from tests.kubernetes.emulator.containers import Container
from tests.kubernetes.emulator.events import EventType, tell
from tests.kubernetes.emulator.images import Image
from tests.kubernetes.emulator.launching import Surroundings, prepare_launch
from tests.kubernetes.emulator.machine import Machine
from tests.kubernetes.emulator.processes import Launch
from tests.kubernetes.emulator.references import NotReady, References
from tests.kubernetes.emulator.scheduling import place
from tests.kubernetes.emulator.statuses import Ending, condition, conditions, phase
from tests.kubernetes.emulator.store import Manifest
from tests.kubernetes.emulator.times import in_objects, now
from tests.kubernetes.emulator.volumes import Volumes

SCHEDULING_SECONDS = 0.5
KILL_SECONDS = 30.0
MOST_BACKOFFS = 16
DEADLINE = Ending("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class Pod:
    def __init__(self, manifest: Manifest, machine: Machine) -> None:
        self.manifest, self.machine, self.spec = manifest, machine, manifest["spec"]
        self.folder = machine.folder / "pods" / manifest["metadata"]["uid"]
        self.folder.mkdir(parents=True)
        self.first = [Container(c, self.folder / c["name"]) for c in self.spec.get("initContainers") or []]
        self.main = [Container(c, self.folder / c["name"]) for c in self.spec["containers"]]
        self.is_lost = False
        """Its node does not answer: nobody says how its containers are."""
        references = References(machine.store, manifest["metadata"]["namespace"])
        volumes = Volumes(manifest, self.folder, machine.claims / manifest["metadata"]["namespace"], references)
        self._around = Surroundings(manifest, machine.images, references, volumes)
        self._ending: Ending | None = None
        self._is_leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._life = self._do(self._live())

    @property
    def containers(self) -> list[Container]:
        return [*self.first, *self.main]

    @property
    def has_ended(self) -> bool:
        return self.manifest["status"]["phase"] in ("Succeeded", "Failed")

    @property
    def _is_stopping(self) -> bool:
        return bool(self._ending) or self._is_leaving

    async def end(self, ending: Ending, grace_seconds: float) -> None:
        """It fails for a reason that is none of its containers'. Its object stays."""
        if self.has_ended:
            return
        self._ending = ending
        self._tell("Warning", ending.reason, ending.message)
        await self._stop(grace_seconds)
        self._show()

    async def leave(self, grace_seconds: float, ending: Ending | None = None) -> None:
        """Ends its containers and takes its object away, as a deletion does."""
        self._is_leaving = True
        self._ending = ending or self._ending
        if any(c.is_running for c in self.containers):
            self._tell("Normal", "Killing", "Stopping container(s)")
        self._show()
        await self._stop(grace_seconds)
        self.machine.store.remove("pods", self.manifest)
        # A second deletion, with less patience, may have been faster.
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def lose(self) -> None:
        """Its node is gone: the containers end, and nobody says so."""
        self.is_lost = True
        await self._stop(0)

    async def _stop(self, grace_seconds: float) -> None:
        if grace_seconds:
            self._signal(signal.SIGTERM)
            await self._all_ended(grace_seconds)
        self._signal(signal.SIGKILL)
        await self._all_ended(KILL_SECONDS)
        self._life.cancel()
        await asyncio.wait([self._life])

    async def _all_ended(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for container in self.containers:
                    if container.is_running:
                        await container.ended.wait()

    def _signal(self, number: int) -> None:
        for container in self.containers:
            if container.process and container.process.is_running:
                container.process.signal(number)

    async def _live(self) -> None:
        await self._find_a_node()
        await asyncio.sleep(self.machine.start_seconds)
        if self.spec.get("activeDeadlineSeconds"):
            self._do(self._end_at_deadline(self.spec["activeDeadlineSeconds"]))
        for container in self.first:
            await self._keep(container)
            if container.exit_code:
                return
        async with asyncio.TaskGroup() as group:
            for container in self.main:
                group.create_task(self._keep(container))

    async def _find_a_node(self) -> None:
        store, namespace = self.machine.store, self.manifest["metadata"]["namespace"]
        told = ""
        while True:
            claims = {claim["metadata"]["name"] for claim in store.all("persistentvolumeclaims", namespace)}
            found = place(self.manifest, store.all("nodes"), store.all("pods"), claims)
            if found.node:
                break
            if found.reason != told:
                told = found.reason
                self._tell("Warning", "FailedScheduling", told)
                self.manifest["status"]["conditions"] = [condition("PodScheduled", False, "Unschedulable", told)]
                store.modified("pods", self.manifest)
            await store.bell.heard(SCHEDULING_SECONDS)
        self.spec["nodeName"] = found.node
        self.manifest["status"].update(hostIP="127.0.0.1", podIP="127.0.0.1", startTime=in_objects(now()))
        name = self.manifest["metadata"]["name"]
        self._tell("Normal", "Scheduled", f"Successfully assigned {namespace}/{name} to {found.node}")
        self._show()

    async def _end_at_deadline(self, seconds: float) -> None:
        await asyncio.wait([self._life], timeout=seconds)
        if not self._life.done():
            await self.end(DEADLINE, self.spec["terminationGracePeriodSeconds"])

    async def _keep(self, container: Container) -> None:
        """Starts it, and again as often as its pod's restart policy says."""
        while True:
            launch = await self._launch(container, await self._pull(container))
            if self._is_stopping:  # another container of the pod still has its grace period
                return
            await container.start(launch, self.machine.isolation)
            if container.process and container.is_running:
                self.machine.has_started(container.process)
                self._tell("Normal", "Started", f"Started container {container.name}")
            self._show()
            await container.end()
            container.is_over = not self._starts_again(container)
            self._show()
            if container.is_over:
                return
            message = f"back-off restarting failed container={container.name}"
            await self._back_off(container, container.restarts, "CrashLoopBackOff", message)
            container.restarts += 1

    def _starts_again(self, container: Container) -> bool:
        policy = self.spec["restartPolicy"]
        if self._is_stopping or policy == "Never":
            return False
        return bool(container.exit_code) or (policy == "Always" and container in self.main)

    async def _pull(self, container: Container) -> Image:
        """Waits until its image is there, which may be never."""
        name, failures = container.spec["image"], 0
        self._tell("Normal", "Pulling", f'Pulling image "{name}"')
        while isinstance(found := self.machine.images.find(name), str):
            if container.spec["imagePullPolicy"] == "Never":
                message = f'Container image "{name}" is not present with pull policy of Never'
                await self._back_off(container, failures, "ErrImageNeverPull", message)
            else:
                self._tell("Warning", "Failed", f'Failed to pull image "{name}": {found}')
                await self._back_off(container, 0, "ErrImagePull", found)
                # As kubelets say it since 1.32: with the error, by which KPO tells what will pass from what won't.
                message = f'Back-off pulling image "{name}": {found}'
                await self._back_off(container, failures, "ImagePullBackOff", message)
            failures += 1
        if found.pull_seconds:
            container.wait("ContainerCreating")
            self._show()
            await asyncio.sleep(found.pull_seconds)
        self._tell("Normal", "Pulled", f'Successfully pulled image "{name}"')
        return found

    async def _launch(self, container: Container, image: Image) -> Launch:
        """Waits until all that it refers to is there."""
        failures = 0
        while True:
            try:
                return prepare_launch(container, image, self._around)
            except NotReady as error:
                self._tell("Warning", "Failed", error.message)
                await self._back_off(container, failures, error.reason, error.message)
                failures += 1

    async def _back_off(self, container: Container, failures: int, reason: str, message: str) -> None:
        container.wait(reason, message)
        self._show()
        await asyncio.sleep(self.machine.backoff_seconds * min(2**failures, MOST_BACKOFFS))

    def _show(self) -> None:
        """Writes down how its containers are, for whoever asks or watches."""
        if self.is_lost:
            return
        status = self.manifest["status"]
        if self.spec.get("nodeName"):
            status["containerStatuses"] = _statuses(self.main)
            status["initContainerStatuses"] = _statuses(self.first)
            status["conditions"] = conditions(self.first, self.main, self._ending)
            status["phase"] = phase(self.first, self.main, self._ending)
        if self._ending and not self._is_leaving:
            status.update(phase="Failed", reason=self._ending.reason, message=self._ending.message)
        self.machine.store.modified("pods", self.manifest)

    def _tell(self, type: EventType, reason: str, message: str) -> None:
        tell(self.machine.store, self.manifest, type, reason, message)

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.machine.errors.append(error)


def _statuses(containers: Iterable[Container]) -> list[dict[str, object]]:
    return [container.status() for container in containers]
