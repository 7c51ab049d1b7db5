"""Containers are real processes, kept apart as far as this machine can."""

import pytest

from tests.kubernetes.emulator.isolation import FEATURES, best_isolation


def needs(feature):
    missing = feature not in FEATURES[best_isolation()]
    return pytest.mark.skipif(missing, reason=f"there are no {feature} in containers of this machine")


AS_A_SITE_HAS_IT = {
    "securityContext": {"runAsUser": 1000, "runAsNonRoot": True},
    "volumes": [{"name": "cache", "emptyDir": {}}],
    "container": {
        "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    },
}


def test_every_image_has_python_and_this_package(ended):
    status = ended("python -m llm_eval --help")

    assert status["phase"] == "Succeeded"
    assert any("Usage: python -m llm_eval" in line for line in status["log"])


@needs("users")
def test_any_user_can_run_it_with_a_read_only_root(ended):
    status = ended(
        "python -m llm_eval --help > /dev/null && id -u; touch /x /usr/x; touch /cache/x", **AS_A_SITE_HAS_IT
    )

    assert status["phase"] == "Succeeded"
    assert status["log"][0] == "1000"
    assert [line.rpartition(": ")[2] for line in status["log"][1:]] == ["Read-only file system"] * 2
