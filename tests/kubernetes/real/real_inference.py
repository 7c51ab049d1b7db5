"""The evaluation of the shared scenarios, fitted to a real cluster: its namespace, its image, its slower ways."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes import inference
from tests.kubernetes.inference import Inference
from tests.kubernetes.real.cluster import RealCluster

SECONDS_PER_REPLY = 0.5  # a real kubelet takes seconds to hear that a pod is to end
TEMPORARY = "64Mi"  # so that `evict` has little to fill


class RealInference(Inference):
    def __init__(self, folder: Path, cluster: RealCluster, patch: pytest.MonkeyPatch, deferrable: bool) -> None:
        patch.setattr(inference, "SECONDS_PER_REPLY", SECONDS_PER_REPLY)
        super().__init__(folder, cluster, patch, deferrable)

    def _template(self, folder: Path) -> Path:
        path = super()._template(folder)
        pod = yaml.safe_load(path.read_text())
        pod["metadata"]["namespace"] = self.cluster.namespace
        mounts = {mount["mountPath"]: mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        (temporary,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == mounts["/tmp"]]
        temporary["emptyDir"]["sizeLimit"] = TEMPORARY
        path.write_text(yaml.safe_dump(pod))
        return path

    def _operator(self, needs: dict[str, Any] | None, **keywords: Any) -> Any:
        return super()._operator({"image": self.cluster.image, **(needs or {})}, **keywords)


@contextmanager
def real_inference(cluster: RealCluster, patch: pytest.MonkeyPatch, deferrable: bool) -> Iterator[RealInference]:
    """In a folder that every user may pass through, here and on the node; pods write as a user of their own."""
    folder = Path(tempfile.mkdtemp(prefix="llm-eval-", dir=cluster.root))
    folder.chmod(0o755)
    try:
        yield RealInference(folder, cluster, patch, deferrable)
    finally:
        shutil.rmtree(folder)
