"""A pod with everything in it that sites use, and each of its values made odd, one at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from tests.kubernetes.manifests.pods import HERE, good, laid_over

RECORD = HERE / "refusals.yaml"  # of Kubernetes 1.20.2
MORE = """
spec:
  imagePullSecrets: [{name: registry}]
  terminationGracePeriodSeconds: 30
  activeDeadlineSeconds: 3600
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]
  initContainers:
    - name: fetch
      image: i
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
      volumeMounts: [{name: temporary, mountPath: /tmp, subPath: a}]
  containers:
    - imagePullPolicy: IfNotPresent
      terminationMessagePolicy: FallbackToLogsOnError
      env: [{}, {}, {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
      envFrom: [{secretRef: {name: s}}, {configMapRef: {name: c}, prefix: P_}]
"""
ODD: dict[str, Any] = {
    "empty": "",
    "blank": "x y",
    "upper": "UPPER",
    "negative": -1,
    "zero": 0,
    "half": 1.5,
    "true": True,
    "list": [],
    "mapping": {},
    "null": None,
    "quantity": "1Gb",
    "long": "a" * 300,
}
GONE = "gone"


class Oddity(NamedTuple):
    """`path`: where; `odd`: what stands there, a name of ODD, or GONE."""

    path: str
    odd: str
    pod: dict[str, Any]


def full() -> dict[str, Any]:
    return dict(laid_over(good(), yaml.safe_load(MORE)))


def oddities() -> Iterator[Oddity]:
    pod = full()
    for steps in _paths(pod):
        if steps and steps[0] not in ("apiVersion", "kind"):
            path = ".".join(map(str, steps))
            for name in (*ODD, *([GONE] if isinstance(steps[-1], str) else [])):
                yield Oddity(path, name, _with(copy.deepcopy(pod), steps, name))


def recorded() -> set[tuple[str, str]]:
    """(path, odd) of all that a real API server has refused."""
    return {(path, odd) for path, odds in yaml.safe_load(RECORD.read_text()).items() for odd in odds.split()}


def _with(pod: dict[str, Any], steps: tuple[str | int, ...], odd: str) -> dict[str, Any]:
    part: Any = pod
    for step in steps[:-1]:
        part = part[step]
    if odd == GONE:
        del part[steps[-1]]
    else:
        part[steps[-1]] = copy.deepcopy(ODD[odd])
    return pod


def _paths(value: Any, steps: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield steps
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from _paths(value[key], (*steps, key))
