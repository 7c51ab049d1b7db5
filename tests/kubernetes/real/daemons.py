"""The processes of one cluster: each with a log of its own, all ended with the object, and with this process."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from llm_eval.airflow.processes import Guard, end_sessions

TAIL_CHARACTERS = 3000


class DaemonFailed(Exception):
    """A daemon ended, or did not answer in time. The message has the end of its log."""


class Daemons:
    """A context manager: outside, none of its processes runs, also when their owner was killed."""

    def __init__(self, logs: Path, environment: Mapping[str, str], lock: IO[str]) -> None:
        """`lock`: held until the last process has ended, however the owner does."""
        logs.mkdir(parents=True)
        self._logs, self._environment = logs, dict(environment)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = Guard(os.environ, lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        alive = end_sessions({process.pid for process in self._processes.values()})
        for process in self._processes.values():
            process.poll()
        self._guard.close()
        if alive:
            raise DaemonFailed(f"still there: {', '.join(str(process) for process in alive)}")

    def start(self, name: str, command: Sequence[str], **environment: str) -> int:
        """Start it and return its process id, without waiting for anything."""
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard.watch(process.pid)
        self._processes[name] = process
        return process.pid

    def wait(self, name: str, answers: Callable[[], bool], seconds: float) -> None:
        """Until it answers. Raises DaemonFailed if it ends before, or does not within this time."""
        limit = time.monotonic() + seconds
        while not answers():
            ended = self._processes[name].poll()
            if ended is not None or time.monotonic() > limit:
                how = f"does not answer after {seconds:g} s" if ended is None else f"ended with {ended}"
                raise DaemonFailed(f"{name} {how}. The end of its log:\n{self.tail(name)}")
            time.sleep(0.2)

    def stop(self, name: str) -> None:
        """End it and what it started, and forget it."""
        end_sessions({self._processes.pop(name).pid})

    def tail(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")[-TAIL_CHARACTERS:]

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"
