"""All rules for one pod."""

from __future__ import annotations

from collections.abc import Collection

from llm_eval.manifests import (
    fields,
    names,
    placement,
    references,
    resources,
    running,
    secrets,
    security,
    volumes,
)
from llm_eval.manifests.parts import Mistake, Part


def mistakes(pod: Part, priority_classes: Collection[str] | None = None) -> list[Mistake]:
    """Everything that is wrong with a pod as a cluster would get it, in the order of the rules; empty if it may go.

    `priority_classes`: those that the cluster has; None if nobody here knows, and the name is taken as it is.
    """
    return [
        *fields.mistakes(pod),
        *names.mistakes(pod),
        *resources.mistakes(pod),
        *volumes.mistakes(pod),
        *placement.mistakes(pod, priority_classes),
        *security.mistakes(pod),
        *secrets.mistakes(pod),
        *references.mistakes(pod),
        *running.mistakes(pod),
    ]
