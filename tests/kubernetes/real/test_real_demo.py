"""The demo suite through a whole Airflow whose models are asked in pods of a real cluster, one GPU for each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from llm_eval import results
from llm_eval.airflow import demo
from llm_eval.airflow.stack import Stack
from llm_eval.catalog import Catalog
from llm_eval.demo.train import train
from llm_eval.manifests import templates
from llm_eval.settings import HOME, Settings
from llm_eval.specs import Checkpoint
from tests.builders import TINY_DEMO
from tests.kubernetes.real.cluster import LAUNCHER, RealCluster
from tests.kubernetes.real.sharing import share

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(1800)]

PATIENCE_SECONDS = 1500.0  # a whole Airflow and a whole Kubernetes may have to share two cores
NEEDS = {"gpus": 1, "memory_gib": 2, "shards": 2}
CELLS = ("subset", "metric", "value", "stderr", "ci_low", "ci_high", "samples", "scored", "no_answer", "failed")


@pytest.fixture
def place(real_cluster: RealCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the trained miniature, a catalog in which it runs in pods, and a root that pods may write to."""
    folder = Path(tempfile.mkdtemp(prefix="llm-eval-", dir=real_cluster.root))
    folder.chmod(0o755)
    try:
        train(TINY_DEMO, folder / "models" / "demo", threads=1, progress=lambda step, loss: None)
        (folder / "root").mkdir()
        share(folder / "root")
        (folder / "catalog" / "models").mkdir(parents=True)
        shipped = yaml.safe_load((HOME / "include" / "catalog" / "models" / "demo.yaml").read_text())
        in_pods = {**shipped, "run_on": "kubernetes", "resources": {**NEEDS, "image": real_cluster.image}}
        (folder / "catalog" / "models" / "demo.yaml").write_text(yaml.safe_dump(in_pods))
        (folder / "pod.yaml").write_text(yaml.safe_dump(template(real_cluster.namespace, folder)))
        for name, value in {
            "LLM_EVAL_CATALOG": folder / "catalog",
            "LLM_EVAL_ROOT": folder / "root",
            "LLM_EVAL_MODELS": folder / "models",
            "LLM_EVAL_POD_TEMPLATE": folder / "pod.yaml",
            "LLM_EVAL_POD_LOG_SECONDS": "2",
            "KUBECONFIG": real_cluster.kubeconfig_of(LAUNCHER),
        }.items():
            monkeypatch.setenv(name, str(value))
        yield folder
    finally:
        shutil.rmtree(folder)


def template(namespace: str, folder: Path) -> dict[str, Any]:
    """The shipped one, and where the root and the weights are on the node."""
    pod = dict(templates.read(templates.SHIPPED))
    pod["metadata"]["namespace"] = namespace
    for name, read_only in (("root", False), ("models", True)):
        path = str(folder / name)
        pod["spec"]["volumes"].append({"name": name, "hostPath": {"path": path, "type": "Directory"}})
        pod["spec"]["containers"][0]["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": read_only})
    return pod


def test_the_demo_suite_in_pods_publishes_what_a_worker_does(
    place: Path, cluster: RealCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "RUNS_SECONDS", PATIENCE_SECONDS)
    settings = Settings.from_environment(os.environ)
    catalog = Catalog(settings.catalogs)
    suite, found = catalog.suite(demo.SUITE), demo.trained(catalog, settings)[-1:]

    with Stack(place / "airflow", triggerer=True) as stack:
        outcomes = demo.evaluate(stack.client, suite, found, Console(file=StringIO()))

    assert {outcome.label: outcome.reason for outcome in outcomes if outcome.reason} == {}
    pods = cluster.scheduled()
    assert len(pods) >= len(found) * len(suite.datasets) * NEEDS["shards"]
    assert published(place / "root") == on_a_worker(place, suite.datasets, found)


def published(root: Path) -> list[tuple[object, ...]]:
    """All summary rows, without what is a run's own."""
    rows = results.summary(str(root), models=(demo.MODEL,))
    return sorted((row.checkpoint, row.dataset, *(getattr(row, cell) for cell in CELLS)) for row in rows)


def on_a_worker(place: Path, datasets: Sequence[str], checkpoints: Sequence[Checkpoint]) -> list[tuple[object, ...]]:
    """The same evaluations with the command line, in a process of this machine and a root of their own."""
    environment = {name: value for name, value in os.environ.items() if name != "LLM_EVAL_CATALOG"}
    root = place / "worker"
    for checkpoint in checkpoints:
        for dataset in datasets:
            wish = ["--model", demo.MODEL, "--dataset", dataset, "--checkpoint", checkpoint.name]
            ended = subprocess.run(
                [sys.executable, "-m", "llm_eval", "--root", str(root), "run", *wish, "--format", "json"],
                env=environment,
                capture_output=True,
                text=True,
            )
            assert ended.returncode == 0, ended.stderr
            assert json.loads(ended.stdout)
    return published(root)
