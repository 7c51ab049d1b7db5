"""A stage as a Kubernetes pod: the same command as on a worker, in the image that the model's YAML names.

Importing this file costs 1.6 s, so only the DAG of a model with `run_on: kubernetes` does. What a site adds to every
pod (namespace, volumes, secrets, service account, priority) stands in a template that LLM_EVAL_POD_TEMPLATE names.
Results travel through the root, never through a sidecar: one dropped connection would lose them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import models as k8s  # noqa: TID253 - this is the leaf that owns it

from llm_eval.airflow.failures import failure
from llm_eval.airflow.operators import StageName
from llm_eval.child import last_word, stage_arguments
from llm_eval.errors import InputError
from llm_eval.settings import Settings
from llm_eval.specs import Resources

GPU = "nvidia.com/gpu"
PASSED_ON = ("LLM_EVAL_MODELS", "LLM_EVAL_DATASETS")
STARTUP_SECONDS = 1800  # a node may have to be started and an image of 10 GB pulled
USER = 1000  # named here: without it, an image that says nothing would wait for its start-up time to run out
ORDINARY_ENDINGS = frozenset({None, "Error", "Completed"})


class StagePodOperator(KubernetesPodOperator):  # type: ignore[misc]
    """Runs one stage, or one shard of it, in a pod."""

    custom_operator_name = StageName()
    template_fields = (*KubernetesPodOperator.template_fields, "run_uri", "shard")

    def __init__(
        self, *, stage: str, run_uri: Any, needs: Mapping[str, Any], shard: Any, judge: str = "", **keywords: Any
    ) -> None:
        """`needs`: the model's `resources`, as plain values, because Airflow stores them with the DAG."""
        settings = Settings.from_environment(os.environ)
        pod = pod_arguments(Resources.model_validate(needs), settings.root, os.environ)
        super().__init__(name=f"llm-eval-{stage}", **{**pod, **keywords})
        self.stage, self.run_uri, self.shard, self.judge = stage, run_uri, shard, judge
        self._root = settings.root

    def execute(self, context: Any) -> Any:
        if "://" not in self._root and not self.pod_template_file:
            raise failure(
                InputError.exit_code,
                f"the root is a folder of this machine, {self._root!r}, which a pod cannot see. Set LLM_EVAL_ROOT "
                "to an object store, or mount the folder at the same place by a pod template (LLM_EVAL_POD_TEMPLATE).",
            )
        self.arguments = stage_arguments(self.stage, self.run_uri, self.shard, self.judge)
        return super().execute(context)

    def cleanup(self, pod: Any, remote_pod: Any, xcom_result: Any = None, context: Any = None) -> None:
        """As Kubernetes' operator does, but a stage that ended with exit code 2 is not tried again."""
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowException as error:
            ending = _ending(remote_pod, self.base_container_name)
            if ending is None:
                raise
            reason = last_word((ending.message or "").splitlines(), ending.exit_code)
            if ending.reason not in ORDINARY_ENDINGS:
                reason = f"{ending.reason}: {reason}"
            raise failure(ending.exit_code, reason) from error


class JudgePodOperator(StagePodOperator):
    """Asks one judge, or one shard of what it is asked, in a pod."""

    custom_operator_name = "Judge"


def _ending(pod: k8s.V1Pod, container: str) -> k8s.V1ContainerStateTerminated | None:
    """How a container of the pod ended; None if it never ran, or runs still."""
    statuses = (pod.status.container_statuses if pod.status else None) or []
    return next((s.state.terminated for s in statuses if s.name == container and s.state), None)


def pod_arguments(needs: Resources, root: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of KubernetesPodOperator for a pod with these resources. Pure; secrets are never among its values."""
    return {
        "image": needs.image,
        "cmds": ["python", "-m", "llm_eval"],
        "env_vars": pod_environment(root, environment),
        "container_resources": container_resources(needs),
        "node_selector": dict(needs.node_selector) or None,
        # Clusters keep other work off their GPU nodes by this taint.
        "tolerations": [k8s.V1Toleration(key=GPU, operator="Exists", effect="NoSchedule")] if needs.gpus else None,
        # The default of 64 MB is too small for tensors passed between processes. It counts as memory of the pod.
        "volumes": [
            k8s.V1Volume(
                name="shared-memory",
                empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit="8Gi" if needs.gpus > 1 else "2Gi"),
            )
        ],
        "volume_mounts": [k8s.V1VolumeMount(name="shared-memory", mount_path="/dev/shm")],  # noqa: S108 - its place
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True, run_as_user=USER, seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault")
        ),
        "container_security_context": k8s.V1SecurityContext(
            allow_privilege_escalation=False, privileged=False, capabilities=k8s.V1Capabilities(drop=["ALL"])
        ),
        "automount_service_account_token": False,
        "labels": {"app": "llm-eval"},
        "pod_template_file": environment.get("LLM_EVAL_POD_TEMPLATE"),
        "do_xcom_push": False,
        "startup_timeout_seconds": STARTUP_SECONDS,
        "termination_message_policy": "FallbackToLogsOnError",
        "log_events_on_failure": True,
        "log_pod_spec_on_failure": False,  # the whole spec would bury the reason
    }


def pod_environment(root: str, environment: Mapping[str, str]) -> dict[str, str]:
    return {
        "LLM_EVAL_ROOT": root,
        **{name: environment[name] for name in PASSED_ON if name in environment},
        "HF_HUB_OFFLINE": environment.get("HF_HUB_OFFLINE", "1"),
        "TOKENIZERS_PARALLELISM": "false",
        "HOME": "/tmp",  # noqa: S108 - a user without a name has no other place for caches
    }


def container_resources(needs: Resources) -> k8s.V1ResourceRequirements:
    """GPUs and memory as limits equal to the requests, cpus as a request alone: spare ones may be used."""
    limits = {
        **({GPU: str(needs.gpus)} if needs.gpus else {}),
        **({"memory": f"{round(needs.memory_gib * 1024)}Mi"} if needs.memory_gib else {}),
    }
    cpus = {"cpu": f"{needs.cpus:g}"} if needs.cpus else {}
    return k8s.V1ResourceRequirements(limits=limits or None, requests={**limits, **cpus} or None)
