"""Which node a pod goes to: resources (GPUs among them), node selectors, taints, and claims that exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from tests.kubernetes.emulator.quantities import amount, total

GPU = "nvidia.com/gpu"
ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. With GPUs it keeps other pods away, as most clusters have it: `tainted`."""

    name: str
    gpus: int = 0
    cpus: float = 8
    memory: str = "32Gi"
    labels: Mapping[str, str] = field(default_factory=dict)
    tainted: bool = True

    def manifest(self) -> dict[str, Any]:
        has_taint = self.gpus and self.tainted
        allocatable = {"cpu": f"{self.cpus:g}", "memory": self.memory, **({GPU: str(self.gpus)} if self.gpus else {})}
        return {
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name, **self.labels}},
            "spec": {"taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}] if has_taint else []},
            "status": {"allocatable": allocatable, "capacity": allocatable, "conditions": [_ready("True")]},
        }


class Placement(NamedTuple):
    """`node` is None where there is no place; `reason` then says why, in the scheduler's own words."""

    node: str | None
    reason: str = ""


def place(
    pod: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    claims: Collection[str],
) -> Placement:
    """`pods`: all of the cluster's; `claims`: names of the volume claims in the pod's namespace."""
    for volume in pod["spec"].get("volumes") or []:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim and claim not in claims:
            return Placement(None, f'persistentvolumeclaim "{claim}" not found')
    against: Counter[str] = Counter()
    for node in nodes:
        why_not = _why_not(pod, node, pods)
        if not why_not:
            return Placement(node["metadata"]["name"])
        against.update(why_not)
    reasons = ", ".join(f"{count} {reason}" for reason, count in against.items())
    return Placement(None, f"0/{len(nodes)} nodes are available: {reasons}.")


def lose(node: dict[str, Any]) -> None:
    """What is known of a node that does not answer any more."""
    node["status"]["conditions"] = [_ready("Unknown")]


def _why_not(pod: Mapping[str, Any], node: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> list[str]:
    if any(condition["status"] != "True" for condition in node["status"]["conditions"]):
        return ["node(s) were unreachable"]
    labels = node["metadata"]["labels"]
    if any(labels.get(name) != value for name, value in (pod["spec"].get("nodeSelector") or {}).items()):
        return ["node(s) didn't match Pod's node affinity/selector"]
    for taint in node["spec"]["taints"]:
        if not any(_tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations") or []):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint['value']}}}"]
    taken: Counter[str] = Counter()
    for other in pods:
        if other["spec"].get("nodeName") == node["metadata"]["name"] and other["status"]["phase"] not in ENDED:
            taken.update(total(other["spec"]["containers"]))
    return [
        f"Insufficient {name}"
        for name, asked in total(pod["spec"]["containers"]).items()
        if asked + taken[name] > amount(node["status"]["allocatable"].get(name, Decimal(0)))
    ]


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint["value"]


def _ready(status: str) -> dict[str, str]:
    return {"type": "Ready", "status": status}
