"""One container of a pod: what Kubernetes shows of it, its log, and the process that it is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kubernetes.emulator import processes
from tests.kubernetes.emulator.isolation import Isolation
from tests.kubernetes.emulator.logs import Log
from tests.kubernetes.emulator.processes import Launch, Process, StartError
from tests.kubernetes.emulator.quantities import amount
from tests.kubernetes.emulator.times import in_objects, now

START_FAILED = 128
LAST_LINES, LAST_BYTES, MESSAGE_BYTES = 80, 2048, 4096  # Kubernetes' own limits of a termination message
MEMORY_SECONDS = 0.1


class Container:
    def __init__(self, spec: Mapping[str, Any], folder: Path) -> None:
        self.spec, self.name = spec, spec["name"]
        self.state: dict[str, dict[str, Any]] = {"waiting": {"reason": "PodInitializing"}}
        self.last_state: dict[str, dict[str, Any]] = {}
        self.log, self.previous_log = Log(), Log()
        self.restarts = 0
        self.process: Process | None = None
        self.ended = asyncio.Event()
        self.is_over = False
        """It has ended and will not be started again."""
        self.was_out_of_memory = False
        self._folder = folder
        self._started_at = now()

    @property
    def exit_code(self) -> int | None:
        """None while it has not ended."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    @property
    def is_running(self) -> bool:
        return "running" in self.state

    @property
    def termination_log(self) -> Path:
        return self._folder / "termination-log"

    def wait(self, reason: str, message: str = "") -> None:
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}

    def prepare(self) -> None:
        """Makes place for its next start: a folder and a log of its own."""
        self._folder = self._folder.with_name(f"{self.name}-{self.restarts}")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.termination_log.touch()
        self.termination_log.chmod(0o666)

    async def start(self, launch: Launch, isolation: Isolation) -> None:
        """A command that cannot be started is a container that has ended with 128."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.previous_log, self.log = self.log, Log()
        self.was_out_of_memory = False
        self.ended.clear()
        self._started_at = now()
        try:
            self.process = await processes.start(launch, isolation, self._folder)
        except StartError as error:
            self.process = None
            self.log.complete()
            self._ended(START_FAILED, "StartError", f"failed to create containerd task: {error}")
            return
        self.state = {"running": {"startedAt": in_objects(self._started_at)}}

    async def end(self) -> None:
        """Waits until it has ended, its last line is read and its state says how it went."""
        if self.process is None:
            return
        watching = asyncio.create_task(self._watch_memory())
        reading = asyncio.create_task(self.process.read(self.log.feed))
        code = await self.process.exit_code()
        await reading
        watching.cancel()
        self.log.complete()
        ordinary = "Completed" if code == 0 else "Error"
        self._ended(code, "OOMKilled" if self.was_out_of_memory else ordinary, self._message(code))

    def kill_for_memory(self) -> None:
        assert self.process is not None
        self.was_out_of_memory = True
        self.process.signal(signal.SIGKILL)

    def status(self) -> dict[str, Any]:
        image = self.spec["image"]
        pid = self.process.pid if self.process else None
        return {
            "name": self.name,
            "image": image,
            "imageID": f"emulator://{image}",
            "restartCount": self.restarts,
            "ready": self.is_running,
            "started": self.is_running,
            "state": self.state,
            "lastState": self.last_state,
            **({"containerID": f"emulator://{pid}"} if pid else {}),
        }

    def _ended(self, code: int, reason: str, message: str) -> None:
        times = {"startedAt": in_objects(self._started_at), "finishedAt": in_objects(now())}
        ending = {"exitCode": code, "reason": reason, **times, **({"message": message} if message else {})}
        self.state = {"terminated": ending}
        self.ended.set()

    def _message(self, code: int) -> str:
        message = self.termination_log.read_bytes()[:MESSAGE_BYTES].decode(errors="replace")
        if not message and code and self.spec["terminationMessagePolicy"] == "FallbackToLogsOnError":
            return self.log.last_words(LAST_LINES, LAST_BYTES)
        return message

    async def _watch_memory(self) -> None:
        """Stands in for a memory cgroup: looks often instead of counting every page."""
        limit = ((self.spec.get("resources") or {}).get("limits") or {}).get("memory")
        while limit and self.process and self.process.is_running:
            if await asyncio.to_thread(self.process.memory_bytes) > amount(limit):
                self.kill_for_memory()
                return
            await asyncio.sleep(MEMORY_SECONDS)
