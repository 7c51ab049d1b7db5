"""The status of a pod, as it follows from its containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.kubernetes.emulator.containers import Container
from tests.kubernetes.emulator.times import in_objects, now


class Ending(NamedTuple):
    """Why a pod was ended that did not end by itself. `disruption`: the reason of its DisruptionTarget condition."""

    reason: str
    message: str
    disruption: str = ""


def phase(first: Sequence[Container], main: Sequence[Container], ending: Ending | None) -> str:
    """`first`: the init containers. A pod that was ended has failed, however its containers took it."""
    if any(c.is_over and c.exit_code for c in first):
        return "Failed"
    if all(c.is_over for c in main):
        return "Failed" if ending or any(c.exit_code for c in main) else "Succeeded"
    if ending and not any(c.is_running for c in [*first, *main]):
        return "Failed"
    # A container that waits for its next start belongs to a pod that runs.
    return "Running" if all("waiting" not in c.state or c.last_state for c in main) else "Pending"


def conditions(first: Sequence[Container], main: Sequence[Container], ending: Ending | None) -> list[dict[str, str]]:
    ready = all(c.is_running for c in main)
    found = [
        condition("PodScheduled", True),
        condition("Initialized", all(c.is_over and not c.exit_code for c in first)),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ]
    if ending and ending.disruption:
        found.append(condition("DisruptionTarget", True, ending.disruption, ending.message))
    return found


def condition(type: str, status: bool, reason: str = "", message: str = "") -> dict[str, str]:
    why = {"reason": reason, "message": message} if reason else {}
    return {"type": type, "status": str(status), "lastTransitionTime": in_objects(now()), **why}
