"""The pod of one stage: what the site's template says, and what the model, the run and the worker's command add to it.

Pure, over plain dicts, so that nothing of Kubernetes has to be imported to make or to check one. The template is the
platform team's: whatever it holds stays (lists grow, maps are joined); only what a stage is made of is ours: image,
command, resources, the environment that names the places. Results travel through the root, never through a sidecar:
one dropped connection would lose them.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llm_eval.manifests import pods
from llm_eval.manifests.quantities import amount
from llm_eval.settings import MEMORY_SHARE
from llm_eval.specs import ModelSpec, Resources, Toleration

Manifest = dict[str, Any]

CONTAINER = "base"
GPU = "nvidia.com/gpu"
LABELS = {"app.kubernetes.io/name": "llm-eval", "app.kubernetes.io/component": "stage"}
"""What the network policies, and whoever looks for our pods, find them by."""
PASSED_ON = (
    "LLM_EVAL_MODELS",
    "LLM_EVAL_DATASETS",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)
"""Addresses that a pod is told as they are here. Secrets are the template's, by reference."""
MIB = 1 << 20
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - its place
LESS = 0.5
"""Of the tokens read and held at once, in the try after a pod that ran out of memory."""


def pod_manifest(
    template: Mapping[str, Any],
    needs: Resources,
    arguments: Sequence[str],
    environment: Mapping[str, str],
) -> Manifest:
    """A pod, as Kubernetes takes it, without a name. arguments: what follows `python -m llm_eval`."""
    pod: Manifest = copy.deepcopy(dict(template))
    spec = pod.setdefault("spec", {})
    container = next(each for each in spec["containers"] if each["name"] == CONTAINER)
    container.update(image=needs.image, command=["python", "-m", "llm_eval"], args=list(arguments))
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    container["resources"] = resources(needs, container.get("resources", {}))
    container["env"] = _environment(environment, container.get("env", []))
    _shared_memory(spec, container, needs.gpus)
    spec["restartPolicy"] = "Never"  # the next try is Airflow's
    spec["activeDeadlineSeconds"] = round(needs.max_hours * 3600)
    spec["nodeSelector"] = {**spec.get("nodeSelector", {}), **needs.node_selector}
    spec["tolerations"] = _tolerations(needs, spec.get("tolerations", []))
    if needs.priority_class is not None:
        spec["priorityClassName"] = needs.priority_class
    metadata = pod.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **LABELS}
    return pod


def pod_environment(root: str, environment: Mapping[str, str], out_of_memory: bool) -> dict[str, str]:
    """What a stage in a pod is told. Never a secret. out_of_memory: the last try ended by it."""
    return {
        "LLM_EVAL_ROOT": root,
        **{name: environment[name] for name in PASSED_ON if environment.get(name)},
        "HF_HUB_OFFLINE": environment.get("HF_HUB_OFFLINE", "1"),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        **({MEMORY_SHARE: f"{LESS:g}"} if out_of_memory else {}),
    }


def resources(needs: Resources, given: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """GPUs and memory as limits equal to the requests, cpus as a request alone: spare ones may be used.

    given: what the template has, which stands where the model says nothing.
    """
    limits = {
        **given.get("limits", {}),
        **({GPU: str(needs.gpus)} if needs.gpus else {}),
        **({"memory": f"{round(needs.memory_gib * 1024)}Mi"} if needs.memory_gib else {}),
    }
    same = {name: limits[name] for name in (GPU, "memory") if name in limits}
    cpus = {"cpu": f"{needs.cpus:g}"} if needs.cpus else {}
    if cpus and "cpu" in limits and amount(limits["cpu"]) < amount(cpus["cpu"]):
        limits |= cpus
    both = {"limits": limits, "requests": {**given.get("requests", {}), **same, **cpus}}
    return {name: values for name, values in both.items() if values}


def sees(pod: Mapping[str, Any], folder: str) -> bool:
    """Whether something is mounted in the pod's container at this folder, or above it."""
    container = next(each for each in pod["spec"]["containers"] if each["name"] == CONTAINER)
    mounted = [posixpath.normpath(mount["mountPath"]) for mount in container.get("volumeMounts", [])]
    return any(posixpath.commonpath([path, folder]) == path for path in mounted)


def mistakes_of_models(template: Mapping[str, Any], models: Iterable[ModelSpec]) -> list[str]:
    """What a cluster would not take of the pods that these models are asked in; of the others there are none."""
    return [
        f"the pod of model {model.name!r}: {mistake}"
        for model in models
        if model.run_on == "kubernetes"
        for mistake in pods.mistakes(pod_manifest(template, model.resources, ["infer", "its-run"], {}))
    ]


def _tolerations(needs: Resources, given: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Clusters keep other work off their GPU nodes by a taint named after the resource."""
    gpus = [Toleration(key=GPU, operator="Exists", effect="NoSchedule")] if needs.gpus else []
    ours = [each.model_dump(exclude_none=True) for each in (*gpus, *needs.tolerations)]
    return [*given, *(each for each in ours if each not in given)]


def _shared_memory(spec: Manifest, container: Manifest, gpus: int) -> None:
    """The default of 64 MB is too small for tensors passed between processes. It counts as memory of the pod."""
    if any(mount["mountPath"] == SHARED_MEMORY for mount in container.get("volumeMounts", [])):
        return
    mib = 8192 if gpus > 1 else 2048
    if (limit := container["resources"].get("limits", {}).get("memory")) is not None:
        mib = min(mib, int(amount(limit) / 2 / MIB))
    volume = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{mib}Mi"}}
    mount = {"name": "shared-memory", "mountPath": SHARED_MEMORY}
    spec["volumes"] = [*spec.get("volumes", []), volume]
    container["volumeMounts"] = [*container.get("volumeMounts", []), mount]


def _environment(ours: Mapping[str, str], given: Sequence[Manifest]) -> list[Manifest]:
    """The template's variables, by value or by reference, and those of ours that it does not name."""
    named = {each["name"] for each in given}
    return [*given, *({"name": name, "value": value} for name, value in ours.items() if name not in named)]
