"""The file that a platform team edits: the one that is shipped, and what is said about an edited one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kubernetes.client import ApiClient
from typer.testing import CliRunner

from llm_eval.cli import app
from llm_eval.errors import InputError
from llm_eval.manifests import templates
from tests.kubernetes.manifests.pods import VERSIONS, laid_over, schema_mistake

BASE = "spec.containers[0]"


def edited(folder: Path, change: str) -> Path:
    """The shipped template with something of it changed."""
    path = folder / "pod.yaml"
    path.write_text(yaml.safe_dump(laid_over(yaml.safe_load(templates.SHIPPED.read_text()), yaml.safe_load(change))))
    return path


def found(path: Path) -> list[str]:
    return [message.removeprefix(f"{path}: ") for message in templates.mistakes_of_file(path)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_shipped_template_has_no_mistakes(version):
    template = templates.read(templates.SHIPPED)

    assert templates.mistakes(template) == []
    assert schema_mistake(dict(template), version) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("spec: {containers: [{image: ours:1}]}", f"{BASE}.image: is never used"),
        ("spec: {containers: [{args: [infer]}]}", f"{BASE}.args: is never used"),
        ("spec: {containers: [{name: stage}]}", "spec.containers: the first has to be called 'base'"),
        ("spec: {containers: null}", "spec.containers: the first has to be called 'base'"),
        ("spec: {restartPolicy: OnFailure}", "spec.restartPolicy: 'OnFailure' would have Kubernetes start"),
        ("spec: {prioritClassName: x}", "spec.prioritClassName: Kubernetes knows no such field"),
    ],
)
def test_an_edited_template_is_checked_as_the_pod_that_it_becomes(tmp_path, change, message):
    assert any(line.startswith(message) for line in found(edited(tmp_path, change)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Deployment\napiVersion: apps/v1\n", "a template is one Pod of v1; found: Deployment of apps/v1"),
        ("", "found: nothing"),
        ("kind: Pod\napiVersion: v1\n---\nkind: Pod\napiVersion: v1\n", "found: Pod of v1, Pod of v1"),
        ("kind: Pod\napiVersion: v1\nspec:\n  containers: []\n  containers: []\n", "'containers' is there twice"),
        ("kind: [Pod\n", "is no YAML"),
        ("\udcff", "is no YAML"),
    ],
)
def test_what_is_no_template_is_named_with_its_file(tmp_path, text, message):
    path = tmp_path / "pod.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))

    (line,) = templates.mistakes_of_file(path)

    assert line.startswith(f"{path}: ")
    assert message in line


def test_a_template_that_is_not_there_is_named_with_its_variable(tmp_path):
    (line,) = templates.mistakes_of_file(tmp_path / "pod.yaml")

    assert line.startswith(f"{tmp_path}/pod.yaml: cannot be read (No such file or directory)")
    assert "LLM_EVAL_POD_TEMPLATE names it" in line


def test_kubernetes_own_client_would_lose_both_without_a_word():
    """Why the file is checked and not only what is made of it."""
    written = {
        "spec": {"containers": [], "securityContext": {"runAsNonRoot": "no", "fsGroup": 1}, "nodeSelectr": {"a": "b"}}
    }

    read = ApiClient()._ApiClient__deserialize(written, "V1Pod")

    assert ApiClient().sanitize_for_serialization(read)["spec"] == {
        "containers": [],
        "securityContext": {"runAsNonRoot": True, "fsGroup": 1},
    }


def test_llm_eval_check_reads_the_template_in_use(tmp_path, monkeypatch):
    path = edited(tmp_path, "spec: {containers: [{resources: {limits: {nvidia.com/gpu: 1.5}}}]}")
    good = CliRunner().invoke(app, ["check"])
    monkeypatch.setenv("LLM_EVAL_POD_TEMPLATE", str(path))

    bad = CliRunner().invoke(app, ["check"])

    assert (good.exit_code, good.stdout.splitlines()[-1]) == (0, f"pod template: {templates.SHIPPED}, no mistakes")
    assert isinstance(bad.exception, InputError)
    assert f"{path}: {BASE}.resources.limits[nvidia.com/gpu]: 1.5 is no whole number" in str(bad.exception)
    assert str(bad.exception).endswith("1 mistake(s) in the pod template")
