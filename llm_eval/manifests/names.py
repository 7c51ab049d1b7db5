"""What may be called what: names of objects and parts, labels, environment variables.

Source: k8s.io/apimachinery/pkg/util/validation/validation.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_eval.manifests.parts import Mistake, Part, containers, entries, mapping, metadata, spec, volumes

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_LABEL = re.compile(LABEL)
DNS_SUBDOMAIN = re.compile(rf"{LABEL}(\.{LABEL})*")
QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
VARIABLE = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*")

# Kubernetes takes longer names of pods, but makes the pod's host name of the first 63 characters.
POD_NAME_LENGTH = 63


def mistakes(pod: Part) -> Iterator[Mistake]:
    about, inside = metadata(pod), spec(pod)
    yield from invalid_name("metadata.name", about.get("name"), longest=POD_NAME_LENGTH)
    yield from invalid_name("metadata.namespace", about.get("namespace"), DNS_LABEL, 63)
    for field in ("serviceAccountName", "priorityClassName"):
        yield from invalid_name(f"spec.{field}", inside.get(field))
    for path, secret in entries("spec.imagePullSecrets", inside.get("imagePullSecrets")):
        yield from invalid_name(f"{path}.name", secret.get("name"))
    yield from _named_once("container", containers(pod))
    yield from _named_once("volume", volumes(pod))
    yield from invalid_labels("metadata.labels", about.get("labels"))
    for key in mapping(about.get("annotations")):
        yield from invalid_key(f"metadata.annotations[{key}]", key)
    for path, container in containers(pod):
        yield from _variables(path, container)


def invalid_name(
    path: str, name: object, pattern: re.Pattern[str] = DNS_SUBDOMAIN, longest: int = 253
) -> Iterator[Mistake]:
    """Nothing if it is absent, or no text, which `fields` says."""
    if isinstance(name, str) and not (pattern.fullmatch(name) and len(name) <= longest):
        dots = "" if pattern is DNS_LABEL else ", '.'"
        yield Mistake(
            path,
            f"{name!r} is no name. Allowed: up to {longest} lower-case letters, digits, '-'{dots}, a letter or digit "
            "first and last",
        )


def invalid_labels(path: str, values: object) -> Iterator[Mistake]:
    """Keys and values of labels, or of a selector for them."""
    for key, value in mapping(values).items():
        yield from invalid_key(f"{path}[{key}]", key)
        if isinstance(value, str) and value and not (QUALIFIED.fullmatch(value) and len(value) <= 63):
            yield Mistake(
                f"{path}[{key}]",
                f"{value!r} is no value of a label. Allowed: up to 63 letters, digits, '-', '_' and '.', a letter or "
                "digit first and last, or nothing at all",
            )


def invalid_key(path: str, key: object) -> Iterator[Mistake]:
    """Of a label, an annotation or a taint."""
    prefix, slash, name = str(key).rpartition("/")
    fits = QUALIFIED.fullmatch(name) and len(name) <= 63 and (not slash or DNS_SUBDOMAIN.fullmatch(prefix))
    if not fits:
        yield Mistake(
            path,
            f"{key!r} is no key. Allowed: up to 63 letters, digits, '-', '_' and '.', after an optional domain and '/'",
        )


def _named_once(kind: str, parts: Iterator[tuple[str, Part]]) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for path, part in parts:
        name = part.get("name")
        if name is None:
            yield Mistake(f"{path}.name", f"absent. Give the {kind} a name")
        yield from invalid_name(f"{path}.name", name, DNS_LABEL, 63)
        if isinstance(name, str) and (first := seen.setdefault(name, path)) != path:
            yield Mistake(f"{path}.name", f"{name!r} is the name of {first} already. Rename or remove one of them")


def _variables(path: str, container: Part) -> Iterator[Mistake]:
    seen: set[str] = set()
    for place, variable in entries(f"{path}.env", container.get("env")):
        name = variable.get("name")
        if not isinstance(name, str) or not VARIABLE.fullmatch(name):
            yield Mistake(f"{place}.name", f"{name!r} is no name of an environment variable, such as HF_HOME")
        elif name in seen:
            yield Mistake(f"{place}.name", f"{name} is set twice, and only the last one counts. Remove one of them")
        else:
            seen.add(name)
