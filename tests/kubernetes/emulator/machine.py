"""What all pods of a cluster share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from llm_eval.airflow.processes import Guard
from tests.kubernetes.emulator.images import Images
from tests.kubernetes.emulator.isolation import Isolation
from tests.kubernetes.emulator.processes import Process
from tests.kubernetes.emulator.store import Store


@dataclass(frozen=True)
class Machine:
    """`guard`: ends what containers leave when this process is gone; None where the kernel sees to it by itself.

    `errors`: of the emulator itself, not of a pod. `sessions`: of all containers so far.
    """

    store: Store
    images: Images
    isolation: Isolation
    folder: Path
    start_seconds: float
    backoff_seconds: float
    guard: Guard | None
    errors: list[BaseException] = field(default_factory=list)
    sessions: set[int] = field(default_factory=set)

    def has_started(self, process: Process) -> None:
        self.sessions.add(process.session)
        if self.guard:
            self.guard.watch(process.session)

    @property
    def claims(self) -> Path:
        return self.folder / "claims"
