"""What Airflow's operator makes of a manifest on its way: it goes through Kubernetes' own classes, and gets labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from llm_eval.manifests import pods, templates
from tests.conftest import CHECKOUT
from tests.kubernetes.emulator.kubeconfig import of_no_cluster
from tests.kubernetes.manifests.objects import named
from tests.kubernetes.manifests.pods import NEWEST, OLDEST, schema_mistake


@pytest.fixture(scope="module")
def sent(tmp_path_factory) -> list[dict[str, Any]]:
    """Pods of 0, 1 and 8 GPUs that infer and judge, waited for by the worker and by the triggerer."""
    folder = tmp_path_factory.mktemp("operator")
    command = [sys.executable, "-m", "tests.kubernetes.manifests.operator_pods"]
    place = {"AIRFLOW_HOME": str(folder / "airflow"), "LLM_EVAL_ROOT": "s3://evals"}
    done = subprocess.run(
        [*command, of_no_cluster(folder), str(folder / "pods.json")],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, **place},
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads((folder / "pods.json").read_text()))


def test_what_the_operator_sends_is_what_kubernetes_takes(sent):
    assert len(sent) == 12
    for pod in sent:
        assert pods.mistakes(pod, named("PriorityClass")) == []
        assert [schema_mistake(pod, version) for version in (OLDEST, NEWEST)] == [None, None]


def test_nothing_of_the_template_is_lost_on_the_way_and_no_sidecar_comes_in(sent):
    template = templates.read(templates.SHIPPED)
    (given,) = template["spec"]["containers"]
    decided = {name: value for name, value in template["spec"].items() if name not in ("containers", "volumes")}
    for pod in sent:
        (base,) = pod["spec"]["containers"]

        assert pod["metadata"]["namespace"] == template["metadata"]["namespace"]
        assert pod["metadata"]["annotations"].items() >= template["metadata"]["annotations"].items()
        assert pod["spec"].items() >= decided.items()
        assert base["securityContext"] == given["securityContext"]
        assert base["envFrom"] == given["envFrom"]
        assert base["env"][: len(given["env"])] == given["env"]
        assert base["volumeMounts"][: len(given["volumeMounts"])] == given["volumeMounts"]
