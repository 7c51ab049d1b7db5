"""Prints the pods that the real operators would send to Kubernetes, as JSON; started by test_operator_pods.

A process of its own, because Airflow decides where its home is when it is first imported.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient

from llm_eval.airflow.pods import JudgePodOperator, StagePodOperator
from llm_eval.specs import Resources

RUN = "s3://evals/runs/m/d/r"


class NoStore:
    """The state of a task that was never tried."""

    def get(self, key: str) -> None:
        return None


def pod(kubeconfig: str, gpus: int, stage: str, deferrable: bool) -> dict[str, Any]:
    needs = Resources(gpus=gpus, memory_gib=24, image="ours:1").model_dump(mode="json")
    common = {"run_uri": RUN, "shard": "1/4", "needs": needs, "kubernetes_conn_id": None, "config_file": kubeconfig}
    common |= {"task_id": f"{stage}-{gpus}-{deferrable}", "stage": stage, "deferrable": deferrable}
    operator = JudgePodOperator(judge="strict", **common) if stage == "judge" else StagePodOperator(**common)
    operator.pod_template_dict = operator._manifest({"task_state_store": NoStore()})
    return dict(ApiClient().sanitize_for_serialization(operator.build_pod_request_obj()))


if __name__ == "__main__":
    sizes = itertools.product([0, 1, 8], ["infer", "judge"], [True, False])
    made = [pod(sys.argv[1], *size) for size in sizes]
    Path(sys.argv[2]).write_text(json.dumps(made))
