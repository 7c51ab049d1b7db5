"""How containers are run: of which image, for how long, as which user."""

from __future__ import annotations

from collections.abc import Iterator

from llm_eval.manifests.parts import Mistake, Part, containers, mapping, spec

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
LARGEST = 2**31 - 1


def mistakes(pod: Part) -> Iterator[Mistake]:
    inside = spec(pod)
    yield from _number("spec.activeDeadlineSeconds", inside.get("activeDeadlineSeconds"), 1)
    yield from _number("spec.terminationGracePeriodSeconds", inside.get("terminationGracePeriodSeconds"), 0)
    yield from _users("spec.securityContext", mapping(inside.get("securityContext")))
    for path, container in containers(pod):
        if not container.get("image"):
            yield Mistake(f"{path}.image", "absent. Name an image, at best by its digest")
        for field, allowed in (("imagePullPolicy", PULL_POLICIES), ("terminationMessagePolicy", MESSAGE_POLICIES)):
            value = container.get(field)
            if isinstance(value, str) and value and value not in allowed:
                yield Mistake(f"{path}.{field}", f"{value!r} is not known. Allowed: {', '.join(allowed)}")
        yield from _users(f"{path}.securityContext", mapping(container.get("securityContext")))
    if not any(path.startswith("spec.containers") for path, _ in containers(pod)):
        yield Mistake("spec.containers", "absent. A pod has at least one container")


def _users(path: str, context: Part) -> Iterator[Mistake]:
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        yield from _number(f"{path}.{name}", context.get(name), 0)


def _number(path: str, value: object, least: int) -> Iterator[Mistake]:
    if isinstance(value, int) and not least <= value <= LARGEST:
        yield Mistake(path, f"{value} is not between {least} and {LARGEST}")
