"""The cluster of this session: the one that KUBECONFIG names, else one node on this machine, else a reason to skip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import tests.airflow_home  # noqa: F401 - decided before a test module imports airflow
from tests.kubernetes.real.archive import Archive
from tests.kubernetes.real.cluster import RealCluster
from tests.kubernetes.real.images import INFERENCE_IMAGE, NoImage, inference_image
from tests.kubernetes.real.one_node import one_node_cluster
from tests.kubernetes.real.programs import Programs

GPUS = 2
ROOT = Path("/var/tmp")  # pytest's own folders are closed to the user that pods run as


@pytest.fixture(scope="session", autouse=True)
def one_process() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("a real cluster is for one process: `make k8s-real` runs these tests one after the other")


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        if kubeconfig := os.environ.get("KUBECONFIG"):
            made = _users_own(kubeconfig, folder)
        else:
            made = stack.enter_context(_one_node(folder))
        yield stack.enter_context(made)


@pytest.fixture
def cluster(real_cluster: RealCluster) -> Iterator[RealCluster]:
    """The test fails if it leaves pods."""
    yield real_cluster
    assert real_cluster.leaks() == []


def _users_own(kubeconfig: str, folder: Path) -> RealCluster:
    needed = ("LLM_EVAL_TEST_IMAGE", "LLM_EVAL_TEST_ROOT")
    if missing := [name for name in needed if name not in os.environ]:
        pytest.skip(
            f"KUBECONFIG names a cluster, and {' and '.join(missing)} must say what to run there: an inference image "
            "that its nodes can pull or have, and a folder that is the same one here and on every node"
        )
    image, root = (os.environ[name] for name in needed)
    return RealCluster(kubeconfig, folder, image, Path(root), is_ours=False)


@contextmanager
def _one_node(folder: Path) -> Iterator[RealCluster]:
    programs = Programs.from_environment(os.environ)
    if reason := programs.why_no_node():
        pytest.skip(reason)
    if archive := os.environ.get("LLM_EVAL_TEST_IMAGE_ARCHIVE"):
        image, made = os.environ["LLM_EVAL_TEST_IMAGE"], [Archive(Path(archive))]
    else:
        try:
            image, made = INFERENCE_IMAGE, [inference_image(programs, folder)]
        except NoImage as reason:
            pytest.skip(str(reason))
    with one_node_cluster(programs, made, GPUS) as access:
        administrator = folder / "administrator.kubeconfig"
        administrator.touch(mode=0o600)
        administrator.write_text(access.kubeconfig())
        yield RealCluster(str(administrator), folder, image, ROOT, is_ours=True)
