"""The values for the official chart, as far as they can be checked without it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_eval.airflow.environment import Ports, airflow_settings
from llm_eval.catalog import merge
from llm_eval.manifests.secrets import SECRET_NAME, SECRET_VALUE
from llm_eval.settings import HOME
from tests.kubernetes.manifests.objects import named
from tests.kubernetes.manifests.pods import NEWEST, OLDEST, schema_mistake

FOLDER = HOME / "include" / "helm"
IMAGE = FOLDER / "image"
WAYS = [("celery",), ("kubernetes-executor",), ("celery", "keycloak"), ("kubernetes-executor", "keycloak")]
# What depends on the machine, or is the chart's to say.
OTHERS = re.compile(
    r"AIRFLOW__(API|DATABASE|LOGGING)__|FOLDER$|SIMPLE_AUTH|EXECUTION_API|LOAD_EXAMPLES$|SLOT_COUNT$|__EXECUTOR$"
)


def values(*overlays: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in ("values", *overlays):
        merged = merge(merged, yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))
    return merged


@pytest.mark.parametrize("overlays", WAYS)
def test_airflow_is_told_what_every_deployment_of_ours_is_told(overlays):
    config = values(*overlays)["config"]
    ours = {
        name: value
        for name, value in airflow_settings(Path("/home"), Ports(1, 2)).items()
        if name.startswith("AIRFLOW__") and not OTHERS.search(name)
    }

    assert ours
    for name, value in ours.items():
        section, key = name.removeprefix("AIRFLOW__").lower().split("__")
        assert str(config[section][key]) == value, name


@pytest.mark.parametrize("overlays", WAYS)
def test_links_lead_to_where_the_ingress_is(overlays):
    merged = values(*overlays)

    (host,) = merged["ingress"]["apiServer"]["hosts"]
    assert merged["config"]["api"]["base_url"] == f"https://{host['name']}"


def test_the_version_is_the_installed_one():
    assert values()["airflowVersion"] == version("apache-airflow")


def written(value: Any, path: str = "") -> list[tuple[str, str]]:
    """(path, text) of every scalar, but for references. A variable is called by its `name`, not by its place."""
    if isinstance(value, dict):
        place = f"{path}.{value['name']}" if {"name", "value"} <= value.keys() else path
        parts = [
            (place if key == "value" else f"{path}.{key}", part) for key, part in value.items() if key != "valueFrom"
        ]
    elif isinstance(value, list):
        parts = [(f"{path}[{index}]", part) for index, part in enumerate(value)]
    else:
        return [(path, str(value))]
    return [found for place, part in parts for found in written(part, place)]


@pytest.mark.parametrize("overlays", WAYS)
def test_no_secret_is_written_out(overlays):
    texts = written(values(*overlays))

    assert ".env[0].LLM_EVAL_ROOT" in dict(texts)
    assert [path for path, text in texts if SECRET_NAME.search(path) or SECRET_VALUE.match(text)] == []


def test_the_charts_accounts_get_our_role_and_no_other():
    binding = yaml.safe_load((FOLDER / "rolebinding.yaml").read_text())

    assert [schema_mistake(binding, each) for each in (OLDEST, NEWEST)] == [None, None]
    assert binding["metadata"]["namespace"] in named("Namespace")
    assert binding["roleRef"]["name"] in named("Role")
    assert {subject["name"] for subject in binding["subjects"]} == {"airflow-worker", "airflow-triggerer"}


@pytest.mark.parametrize("overlays", WAYS)
def test_cookies_are_for_https_alone(overlays):
    merged = values(*overlays)

    assert merged["config"]["fab"]["cookie_secure"] == "True"
    assert "--proxy-headers" in merged["apiServer"]["args"][-1]


def test_the_image_can_be_built_without_buildkit():
    instructions = (IMAGE / "Dockerfile").read_text()

    assert re.search(r"^(COPY|ADD|RUN) --|<<", instructions, re.MULTILINE) is None


def test_the_entry_point_becomes_what_it_is_given():
    done = subprocess.run(["sh", IMAGE / "entrypoint", "bash", "-c", "echo $0; exit 3"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (3, "bash\n")


def test_groomers_of_one_volume_do_not_end_each_other(tmp_path):
    logs = tmp_path / "logs"
    long_ago = time.time() - 20 * 24 * 3600
    for number in range(4000):
        path = logs / str(number // 100) / f"{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (long_ago, long_ago))

    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    groomers = [subprocess.Popen(["sh", IMAGE / "clean-logs"], env=environment) for _ in range(3)]
    try:
        deadline = time.monotonic() + 60
        while any(logs.rglob("*.log")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        ended = [groomer.poll() for groomer in groomers]
    finally:
        for groomer in groomers:
            groomer.send_signal(signal.SIGTERM)

    assert ended == [None] * 3
    assert [groomer.wait(timeout=60) for groomer in groomers] == [0] * 3


def test_old_logs_go_and_the_groomer_ends_when_it_is_asked_to(tmp_path):
    logs = tmp_path / "logs" / "dag_id=a"
    (logs / "empty").mkdir(parents=True)
    old, new = logs / "old.log", logs / "new.log"
    for path in (old, new):
        path.touch()
    long_ago = time.time() - 20 * 24 * 3600
    for path in (old, logs / "empty"):
        os.utime(path, (long_ago, long_ago))

    groomer = subprocess.Popen(["sh", IMAGE / "clean-logs"], env={**os.environ, "AIRFLOW_HOME": str(tmp_path)})
    deadline = time.monotonic() + 60
    while (old.exists() or (logs / "empty").exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    groomer.send_signal(signal.SIGTERM)

    assert groomer.wait(timeout=60) == 0
    assert [path.name for path in logs.iterdir()] == ["new.log"]
