"""Ten faults that cost somebody a night, each found before a cluster sees it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from llm_eval.manifests import pods
from tests.kubernetes.manifests.pods import HERE, VERSIONS, good, planted, schema_mistake

BASE = "spec.containers[0]"
CLASSES = ("llm-eval",)


class Finding(NamedTuple):
    """Where our rules see it, what they say, and whether the schemas of Kubernetes see it as well."""

    field: str
    problem: str
    by_schemas: bool = False


FAULTS = {
    "gpu-as-a-request-alone": Finding(f"{BASE}.resources.requests[nvidia.com/gpu]", "must be a limit"),
    "gpu-without-its-vendor": Finding(f"{BASE}.resources.limits[gpu]", "such as nvidia.com/gpu"),
    "half-a-gpu": Finding(f"{BASE}.resources.limits[nvidia.com/gpu]", "'0.5' is no whole number"),
    "node-selector-that-is-a-boolean": Finding("spec.nodeSelector[gpu]", "True is not text", by_schemas=True),
    "toleration-with-an-unknown-operator": Finding("spec.tolerations[0].operator", "Allowed: Equal, Exists"),
    "mount-without-a-volume": Finding(
        f"{BASE}.volumeMounts[2].name", "In spec.volumes: shared-memory, temporary, weights"
    ),
    "user-rule-that-is-text": Finding(
        "spec.securityContext.runAsNonRoot", "text is not true or false", by_schemas=True
    ),
    "misspelt-capabilities": Finding(
        f"{BASE}.securityContext.capabilties", "Did you mean 'capabilities'?", by_schemas=True
    ),
    "memory-volume-of-no-known-kind": Finding("spec.volumes[0].emptyDir.sizeLimit", "'1Gb' is no quantity"),
    "priority-class-that-nobody-made": Finding("spec.priorityClassName", "'nightly' is no priority class"),
}


def test_all_ten_are_here():
    assert sorted(FAULTS) == sorted(path.stem for path in (HERE / "faults").iterdir())
    assert len(FAULTS) == 10


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pod_that_they_are_planted_in_is_good(version):
    assert schema_mistake(good(), version) is None
    assert pods.mistakes(good(), CLASSES) == []


@pytest.mark.parametrize("name", FAULTS)
def test_our_rules_find_it_and_say_what_is_allowed(name):
    found = {mistake.field: mistake.problem for mistake in pods.mistakes(planted(name), CLASSES)}

    assert FAULTS[name].problem in found[FAULTS[name].field]


@pytest.mark.parametrize("name", FAULTS)
def test_the_schemas_find_types_and_unknown_fields_alone(name):
    assert (schema_mistake(planted(name)) is not None) is FAULTS[name].by_schemas


def test_a_fault_in_one_place_hides_none_in_another():
    pod = planted("half-a-gpu")
    pod["spec"]["nodeSelector"] = "h100"
    pod["spec"]["containers"][0]["env"] = [{"name": "HF_TOKEN", "value": "hf_x"}, "HOME=/tmp"]

    found = {mistake.field for mistake in pods.mistakes(pod)}

    assert found >= {
        "spec.nodeSelector",
        f"{BASE}.env[0]",
        f"{BASE}.env[1]",
        f"{BASE}.resources.limits[nvidia.com/gpu]",
    }


@pytest.mark.parametrize("rubbish", [{}, {"spec": None}, {"spec": []}, {"spec": {"containers": {}}}, {"metadata": 3}])
def test_what_is_hardly_a_pod_has_mistakes_and_breaks_nothing(rubbish):
    assert pods.mistakes(rubbish)
