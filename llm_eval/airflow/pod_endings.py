"""Why a pod did not do its work, in one line, and whether another try can help.

The contract (docs/kubernetes.md): a stage's own exit code decides as it does on a worker (errors.py). What Kubernetes
did to the pod passes with time. Memory that was not enough is tried once more, with fewer tokens at once. What
Kubernetes refuses to start stays refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from llm_eval.child import last_word
from llm_eval.errors import BAD_INPUT, FAILED, MAY_PASS

if TYPE_CHECKING:
    from kubernetes.client import models as k8s

# By the kubelet, a node's shutdown, the scheduler's preemption, or a node that refuses what it was given.
_TAKEN_AWAY = re.compile(r"Evict|Preempt|NodeLost|Shutdown|Terminated|NodeAffinity|UnexpectedAdmission|OutOf", re.ASCII)
_NEVER = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
_PULL = "Failed to pull image"
_NO_SUCH_IMAGE = re.compile(r"not found|manifest unknown|does not exist|denied|unauthorized|no such", re.IGNORECASE)
_KILLED = {128 + 9: "SIGKILL", 128 + 15: "SIGTERM"}


class PodEnd(NamedTuple):
    """exit_code: as if the stage itself had ended with it. reason: one line, fit to be the last of a task's log."""

    exit_code: int
    reason: str
    is_out_of_memory: bool = False


class PodEvent(NamedTuple):
    is_warning: bool
    reason: str
    message: str


class Sight(NamedTuple):
    """A pod as Kubernetes last described it (None: it is not there any more), and what it told about it, in order."""

    pod: k8s.V1Pod | None
    events: Sequence[PodEvent] = ()


def succeeded(sight: Sight) -> bool:
    return sight.pod is not None and sight.pod.status is not None and sight.pod.status.phase == "Succeeded"


def is_at_work(sight: Sight) -> bool:
    """Running, and nobody has asked it to end."""
    pod = sight.pod
    return (
        pod is not None
        and pod.status is not None
        and pod.status.phase == "Running"
        and not pod.metadata.deletion_timestamp
    )


def pod_end(sight: Sight, container: str, error: str) -> PodEnd:
    """What happened, by the most telling of all signs. error: what whoever was watching says, if nothing else does."""
    pod = sight.pod
    if pod is None or pod.status is None:
        taken = [f"{e.reason}: {e.message}" for e in sight.events if _TAKEN_AWAY.search(e.reason)]
        return PodEnd(MAY_PASS, _one_line(f"the pod is gone: {(taken or ['deleted by hand, or with its node'])[-1]}"))
    warnings = [event.message for event in sight.events if event.is_warning and event.message]
    told = _taken_away(pod.status) or _container_end(pod, container) or _not_started(pod, warnings)
    if told is not None:
        return told
    if pod.metadata is not None and pod.metadata.deletion_timestamp:
        return PodEnd(MAY_PASS, "the pod was deleted while it was at work")
    return PodEnd(FAILED, _one_line(error))


def _taken_away(status: k8s.V1PodStatus) -> PodEnd | None:
    reason, message = status.reason or "", status.message or ""
    if reason == "DeadlineExceeded":
        return PodEnd(
            FAILED, "the pod ran longer than its model's resources.max_hours; another try goes on where it was"
        )
    if _TAKEN_AWAY.search(reason):
        return PodEnd(MAY_PASS, _one_line(f"{reason}: {message}"))
    for condition in status.conditions or []:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return PodEnd(MAY_PASS, _one_line(f"{condition.reason or 'disrupted'}: {condition.message or message}"))
    return None


def _container_end(pod: k8s.V1Pod, container: str) -> PodEnd | None:
    """Of the stage's container, or of one that had to end before it could begin."""
    statuses = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    for status in statuses:
        ended = status.state.terminated if status.state else None
        if ended is None or ended.exit_code == 0:
            continue
        of = "" if status.name == container else f"container {status.name!r}: "
        if ended.reason == "OOMKilled":
            return PodEnd(FAILED, f"{of}out of memory: it needed more than its limit ({_memory_limit(pod)})", True)
        said = ended.message or ""
        if ended.exit_code in _KILLED:
            last = f"; its last line: {said.splitlines()[-1]}" if said.strip() else ""
            return PodEnd(MAY_PASS, f"{of}killed from outside ({_KILLED[ended.exit_code]}){last}")
        reason = last_word(said.splitlines(), ended.exit_code)
        if ended.reason not in (None, "Error", "Completed"):
            reason = f"{ended.reason}: {reason}"
        return PodEnd(ended.exit_code, f"{of}{reason}")
    return None


def _not_started(pod: k8s.V1Pod, warnings: Sequence[str]) -> PodEnd | None:
    for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
        waiting = status.state.waiting if status.state else None
        if waiting is None or waiting.reason in ("ContainerCreating", "PodInitializing", None):
            continue
        # Older kubelets say only that they back off; what went wrong stands in an event alone.
        pulls = [warning for warning in warnings if warning.startswith(_PULL)] if waiting.reason in _PULLING else []
        why = pulls[-1] if pulls else waiting.message or status.image
        told = _one_line(f"the pod did not start: {waiting.reason}: {why}")
        if waiting.reason in _NEVER:
            return PodEnd(BAD_INPUT, told)
        if waiting.reason in _PULLING and not _NO_SUCH_IMAGE.search(" ".join([waiting.message or "", *warnings])):
            return PodEnd(MAY_PASS, told)
        return PodEnd(FAILED, told)
    if pod.status.phase not in ("Pending", None):
        return None
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return PodEnd(MAY_PASS, _one_line(f"no node took the pod: {condition.message or condition.reason}"))
    last = warnings[-1] if warnings else "Kubernetes does not say why"
    return PodEnd(MAY_PASS, _one_line(f"the pod did not start in time: {last}"))


def refusal(error: Exception) -> PodEnd:
    """Of a request that Kubernetes did not do: what is forbidden or invalid stays so. error: of its client."""
    status = getattr(error, "status", None)
    if not status:
        return PodEnd(MAY_PASS, _one_line(f"Kubernetes does not answer: {error}"))
    told = _one_line(
        f"Kubernetes answered {status} {getattr(error, 'reason', '')}: {_said(getattr(error, 'body', None))}"
    )
    if status == 403 and "exceeded quota" in told:
        return PodEnd(MAY_PASS, told)
    if status in (401, 403):
        return PodEnd(BAD_INPUT, f"{told} (include/kubernetes/rbac.yaml has the role that Airflow needs)")
    return PodEnd(BAD_INPUT if status in (400, 404, 413, 422) else MAY_PASS, told)


def _said(body: object) -> str:
    """The message of the Status object that Kubernetes answers with."""
    try:
        return str(json.loads(str(body))["message"])
    except (ValueError, KeyError, TypeError):
        return str(body or "no more than that")


def _memory_limit(pod: k8s.V1Pod) -> str:
    limits = [(c.resources.limits or {}).get("memory") for c in pod.spec.containers if c.resources]
    return next((limit for limit in limits if limit), "its node's")


def _one_line(text: str) -> str:
    return " ".join(text.split())
