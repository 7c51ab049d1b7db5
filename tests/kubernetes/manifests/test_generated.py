"""Every pod that a model's YAML and a template can make of a stage, through the schemas and through our rules."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.child import stage_arguments
from llm_eval.manifests import pods, templates
from llm_eval.manifests.stage_pods import LABELS, pod_environment, pod_manifest
from llm_eval.specs import Resources, Toleration
from tests.kubernetes.manifests.objects import named
from tests.kubernetes.manifests.pods import NEWEST, VERSIONS, laid_over, schema_mistake

RUN = "s3://evals/runs/m/d/r"
ROOT = "s3://evals"
SITE = """
metadata: {labels: {team: evals}}
spec:
  nodeSelector: {pool: gpu}
  tolerations: [{key: spot, operator: Exists, effect: NoSchedule}, {key: nvidia.com/gpu, operator: Exists}]
  imagePullSecrets: [{name: registry}]
  initContainers: null
  containers:
    - env: [{}, {}, {name: LLM_EVAL_MODELS, value: /models}, {name: HF_HUB_OFFLINE, value: "0"}]
      envFrom: [{}, {configMapRef: {name: proxies}}]
      resources: {limits: {ephemeral-storage: 20Gi}, requests: {ephemeral-storage: 1Gi}}
      volumeMounts: [{}, {}, {name: weights, mountPath: /models, readOnly: true}, {name: shm, mountPath: /dev/shm}]
  volumes:
    - {}
    - {}
    - {name: weights, persistentVolumeClaim: {claimName: weights, readOnly: true}}
    - {name: shm, emptyDir: {medium: Memory, sizeLimit: 1Gi}}
"""
SHIPPED = dict(templates.read(templates.SHIPPED))
TEMPLATES = {"shipped": SHIPPED, "a site's": laid_over(SHIPPED, yaml.safe_load(SITE))}


def made(needs: Resources, template: str, stage: str = "infer", short: bool = False) -> dict[str, Any]:
    judge = "strict" if stage == "judge" else ""
    environment = pod_environment(ROOT, {"AWS_ENDPOINT_URL": "https://store.example", "LLM_EVAL_MODELS": "/m"}, short)
    pod = pod_manifest(TEMPLATES[template], needs, stage_arguments(stage, RUN, "1/4", judge), environment)
    return {**pod, "metadata": {**pod["metadata"], "name": f"llm-eval-{stage}-x1y2z3"}}


def mistakes(pod: dict[str, Any], *versions: str) -> list[str]:
    ours = [str(mistake) for mistake in pods.mistakes(pod, named("PriorityClass"))]
    return [*ours, *filter(None, (schema_mistake(pod, version) for version in versions))]


@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize(("template", "stage"), [*itertools.product(TEMPLATES, ["infer", "judge"])])
def test_pods_of_all_sizes_are_what_each_kubernetes_takes(gpus, template, stage):
    needs = Resources(
        gpus=gpus, cpus=3.5, memory_gib=24, image="registry.example/llm-eval:1", node_selector={"gpu": "a"}
    )

    assert mistakes(made(needs, template, stage), *VERSIONS) == []


words = st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?\Z")
tolerations = st.builds(
    Toleration,
    key=words,
    operator=st.just("Equal"),
    value=words,
    effect=st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute", None]),
)
resources = st.builds(
    Resources,
    gpus=st.integers(0, 16),
    cpus=st.none() | st.floats(0.001, 256),
    memory_gib=st.none() | st.floats(2, 4096),
    image=st.just("registry.example/llm-eval:1"),
    node_selector=st.dictionaries(words, words, max_size=3),
    tolerations=st.lists(tolerations, max_size=3).map(tuple),
    priority_class=st.none() | st.sampled_from(sorted(named("PriorityClass"))),
    max_hours=st.floats(0.01, 1000),
)


@settings(deadline=None, max_examples=50)
@given(resources, st.sampled_from(sorted(TEMPLATES)), st.sampled_from(["infer", "judge"]), st.booleans())
def test_so_are_pods_of_any_model(needs, template, stage, short):
    assert mistakes(made(needs, template, stage, short), NEWEST) == []


def test_what_a_site_says_stays_and_counts_before_what_the_run_says():
    pod = made(Resources(gpus=1, image="i"), "a site's")
    (base,) = pod["spec"]["containers"]

    values = {variable["name"]: variable["value"] for variable in base["env"]}
    assert (values["LLM_EVAL_MODELS"], values["HF_HUB_OFFLINE"]) == ("/models", "0")
    assert [v["emptyDir"]["sizeLimit"] for v in pod["spec"]["volumes"] if v["name"] == "shm"] == ["1Gi"]
    assert pod["metadata"]["labels"] == {"team": "evals", **LABELS}


def test_the_network_policies_select_the_labels_that_pods_have():
    from tests.kubernetes.manifests.test_objects import STAGE

    assert LABELS == STAGE
