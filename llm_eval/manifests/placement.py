"""Where a pod may run and before whom: node selectors, tolerations, priority, and what happens at its end."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from llm_eval.manifests.names import invalid_key, invalid_labels
from llm_eval.manifests.parts import Mistake, Part, entries, spec

OPERATORS = ("Equal", "Exists")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
CLUSTERS_OWN_CLASSES = ("system-cluster-critical", "system-node-critical")


def mistakes(pod: Part, priority_classes: Collection[str] | None) -> Iterator[Mistake]:
    """`priority_classes`: those that the cluster has; None if nobody here knows."""
    yield from invalid_labels("spec.nodeSelector", spec(pod).get("nodeSelector"))
    for path, toleration in entries("spec.tolerations", spec(pod).get("tolerations")):
        yield from _toleration(path, toleration)
    yield from _priority(spec(pod).get("priorityClassName"), priority_classes)
    if (policy := spec(pod).get("restartPolicy")) != "Never":
        yield Mistake(
            "spec.restartPolicy",
            f"{policy!r} would have Kubernetes start a failed stage again, behind Airflow's back. Only Never is "
            "allowed, and it has to be said: the default is Always",
        )


def _toleration(path: str, toleration: Part) -> Iterator[Mistake]:
    operator, effect = toleration.get("operator") or "Equal", toleration.get("effect")
    if key := toleration.get("key"):
        yield from invalid_key(f"{path}.key", key)
    if operator not in OPERATORS:
        yield Mistake(f"{path}.operator", f"{operator!r} is not known. Allowed: {', '.join(OPERATORS)}")
    if effect and effect not in EFFECTS:
        yield Mistake(f"{path}.effect", f"{effect!r} is not known. Allowed: {', '.join(EFFECTS)}, or none: all")
    if operator == "Exists" and toleration.get("value"):
        yield Mistake(f"{path}.value", "Exists looks at no value. Remove it, or make the operator Equal")
    if operator == "Equal" and not key:
        yield Mistake(f"{path}.key", "absent. Equal compares a key's value; only Exists may do without a key")
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield Mistake(
            f"{path}.tolerationSeconds", "only the effect NoExecute has a time. Remove it or change the effect"
        )


def _priority(name: object, known: Collection[str] | None) -> Iterator[Mistake]:
    if name is None or known is None or name in (*known, *CLUSTERS_OWN_CLASSES):
        return
    yield Mistake(
        "spec.priorityClassName",
        f"{name!r} is no priority class of the cluster, which would refuse the pod. Known: "
        f"{', '.join(sorted(known)) or 'none'}. Create it first, as include/kubernetes/namespace.yaml does",
    )
