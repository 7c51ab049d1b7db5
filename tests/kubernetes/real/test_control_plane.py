"""What a real API server says about pods, beside what we say about them before it is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import yaml

from tests.kubernetes.manifests.oddities import RECORD
from tests.kubernetes.manifests.pods import HERE, good, planted
from tests.kubernetes.manifests.refusals import refused
from tests.kubernetes.real.control_plane import Access, dry_run
from tests.kubernetes.real.one_node import control_plane
from tests.kubernetes.real.programs import Programs

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]

FAULTS = sorted(path.stem for path in (HERE / "faults").iterdir())
NOT_ITS_OWN = {"serviceAccountName", "priorityClassName"}  # what they name is not on this cluster
UNKNOWN_FIELDS = {"misspelt-capabilities"}  # taken without a word before Kubernetes 1.25


@pytest.fixture(scope="module")
def programs() -> Programs:
    found = Programs.from_environment(os.environ)
    if reason := found.why_no_control_plane():
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def server(programs: Programs) -> Iterator[Access]:
    with control_plane(programs) as access:
        yield access


def elsewhere(pod: dict) -> dict:
    """The pod for a namespace that has nothing of ours."""
    spec = {key: value for key, value in pod["spec"].items() if key not in NOT_ITS_OWN}
    return {**pod, "metadata": {**pod["metadata"], "namespace": "default"}, "spec": spec}


def test_the_server_takes_the_good_pod(server):
    assert dry_run(server, elsewhere(good())) is None


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "priority-class-that-nobody-made"])
def test_the_server_refuses_each_of_the_ten_faults_but_a_misspelt_field(server, name):
    refusal = dry_run(server, elsewhere(planted(name)))

    assert (refusal is None) == (name in UNKNOWN_FIELDS), refusal


def test_the_server_refuses_a_priority_class_that_nobody_made(server):
    pod = elsewhere(good())
    pod["spec"]["priorityClassName"] = planted("priority-class-that-nobody-made")["spec"]["priorityClassName"]

    assert "no PriorityClass" in (dry_run(server, pod) or "")


def test_the_record_of_what_it_refuses_is_what_it_refuses(programs):
    recorded = yaml.safe_load(RECORD.read_text())

    assert refused() == {(path, odd) for path, odds in recorded.items() for odd in odds.split()}
