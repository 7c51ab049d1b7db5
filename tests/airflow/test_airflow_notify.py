"""Who is told of what. Those marked `airflow` go through a real scheduler, to a real server on this machine."""

import json
import time
from types import SimpleNamespace
from urllib.parse import quote

import psutil
import pytest
from rich.console import Console

from llm_eval.airflow import stack as stack_module
from llm_eval.airflow.stack import Stack
from llm_eval.remote.watch import wait_for
from tests.airflow.receivers import webhooks

pytestmark = pytest.mark.timeout(1800)

CONSOLE = Console(force_terminal=False)
RUN_SECONDS = 600.0
SLOW = {"backend": {"kind": "scripted", "seconds_per_reply": 1.0}, "chat": False}
ENDLESS = {"backend": {"kind": "scripted", "seconds_per_reply": 60.0}, "chat": False}
LATE_SECONDS = 4.0


@pytest.fixture(scope="module")
def running(tmp_path_factory, small_catalog):
    """An Airflow whose suite `small` tells three channels: one is not there, one hangs, one works."""
    folder = tmp_path_factory.mktemp("notify")
    place = small_catalog(folder)
    place.write("models", "slow", SLOW)
    place.write("models", "endless", ENDLESS)
    names = ("absent", "silent", "chat")
    channels = [{"kind": "slack", "connection": name} for name in names]
    suite = {**place.suite, "models": ["canned", "gone"], "notify": channels}
    place.write("suites", "small", {**suite, "schedule": None})
    place.write("suites", "limited", {**suite, "models": ["slow"], "late_after_hours": LATE_SECONDS / 3600})
    place.write("suites", "killed", {**suite, "models": ["endless"], "notify": channels[2:]})
    # Airflow's own place for such rules: a killed task gets three tries here, not seven over five minutes.
    (folder / "policy").mkdir()
    (folder / "policy" / "airflow_local_settings.py").write_text("def task_policy(task):\n    task.retries = 2\n")
    with webhooks() as hooks, pytest.MonkeyPatch.context() as patch:
        paths = stack_module.SEARCH_PATHS["PYTHONPATH"]
        patch.setitem(stack_module.SEARCH_PATHS, "PYTHONPATH", (folder / "policy", *paths))
        patch.setenv("LLM_EVAL_CATALOG", str(place.catalog))
        patch.setenv("LLM_EVAL_ROOT", str(place.root))
        chat = {"conn_type": "slackwebhook", "host": f"{hooks.url}/ok", "password": "T0/B0/XYZ"}
        patch.setenv("AIRFLOW_CONN_SILENT", json.dumps({**chat, "host": f"{hooks.url}/hangs"}))
        with Stack(folder / "airflow", triggerer=True) as stack:
            stack.client.call("POST", "/api/v2/connections", {"connection_id": "chat", **chat})
            yield SimpleNamespace(stack=stack, client=stack.client, hooks=hooks, home=stack.home)


def run(client, dag_id, **conf):
    client.set_paused(dag_id, False)
    (outcome,) = wait_for(client, {dag_id: client.trigger(dag_id, conf)}, CONSOLE, RUN_SECONDS)
    return outcome


def link(running, dag_run):
    page = f"{running.stack.url}/dags/{dag_run.dag_id}/runs/{quote(dag_run.run_id, safe='')}"
    return f"<{page}|Open the run in Airflow>"


def warnings(folder, title, count):
    """So many warnings about messages with this title, from the logs of a folder; they come when all was tried."""
    limit = time.monotonic() + RUN_SECONDS
    while True:
        lines = [line for path in folder.rglob("*") if path.is_file() for line in path.read_text().splitlines()]
        found = [json.loads(line)["event"] for line in lines if "no message to" in line and title in line]
        if len(found) >= count or time.monotonic() > limit:
            return sorted(found)
        time.sleep(0.5)


@pytest.mark.airflow
def test_a_failed_run_is_told_once_with_its_reason(running):
    outcome = run(running.client, "eval__gone__tiny", limit=3)

    text = running.hooks.wait_for("gone on tiny failed")
    lines = text.splitlines()
    assert lines[:3] == ["*gone on tiny failed*", "model: `gone`", "dataset: `tiny`"]
    assert lines[3].startswith("`plan: model 'gone': there is no folder 'no/such-folder'")
    assert lines[4:] == [link(running, outcome.run)]
    assert warnings(running.home / "logs" / "dag_processor", "gone on tiny failed", 2) == [
        "no message to slack (connection 'absent'): The conn_id `absent` isn't defined. 'gone on tiny failed' was not "
        "told; nothing else is affected",
        "no message to slack (connection 'silent'): no answer within 10 s. 'gone on tiny failed' was not told; "
        "nothing else is affected",
    ]
    assert len([t for t in running.hooks.texts("/ok") if "failed" in t]) == 1


@pytest.mark.airflow
def test_a_late_run_is_told_while_it_goes_on(running):
    outcome = run(running.client, "eval__slow__tiny")

    assert outcome.reason is None
    lines = running.hooks.wait_for("slow on tiny is late").splitlines()
    assert lines[:3] == ["*slow on tiny is late*", "model: `slow`", "dataset: `tiny`"]
    assert lines[3].startswith("`not done 0.00111 h after it was queued at ")
    assert lines[3].endswith("; it is running`")
    assert lines[4:] == [link(running, outcome.run)]


@pytest.mark.airflow
def test_a_leaderboard_that_changed_is_told_and_one_that_did_not_is_not(running):
    running.client.set_paused("leaderboard__small", False)

    run(running.client, "eval__canned__tiny")
    text = running.hooks.wait_for("the leaderboard of small changed")
    run(running.client, "eval__canned__tiny")

    limit = time.monotonic() + RUN_SECONDS
    while len(ended := [r for r in running.client.runs(["leaderboard__small"]) if r.ended_at]) < 2:
        assert time.monotonic() < limit
        time.sleep(0.5)
    assert {r.state for r in ended} == {"success"}
    assert text.splitlines()[:2] == ["*the leaderboard of small changed*", "suite: `small`"]
    assert text.splitlines()[2].startswith("`tiny (exact_match): canned ")
    assert len([t for t in running.hooks.texts("/ok") if "the leaderboard of small changed" in t]) == 1


@pytest.mark.airflow
def test_a_run_whose_task_was_killed_on_every_try_is_told_once(running):
    running.client.set_paused("eval__endless__tiny", False)
    dag_run = running.client.trigger("eval__endless__tiny")
    limit = time.monotonic() + RUN_SECONDS
    killed = set()
    while not running.hooks.texts("/ok") or "endless" not in running.hooks.texts("/ok")[-1]:
        assert time.monotonic() < limit
        for task in running.client.tasks(dag_run):
            if task.task_id == "infer" and task.state == "running" and task.try_number not in killed:
                kill(running.stack, dag_run, task)
                killed.add(task.try_number)
        time.sleep(0.5)

    assert killed == {1, 2, 3}
    assert running.hooks.texts("/ok")[-1].splitlines() == [
        "*endless on tiny failed*",
        "model: `endless`",
        "dataset: `tiny`",
        "`infer[0]: ended from outside: stopped by hand, or its worker was lost`",
        link(running, dag_run),
    ]


def kill(stack, dag_run, task):
    """kill -9 the process in which Airflow runs a task."""
    place = f"/api/v2/dags/{dag_run.dag_id}/dagRuns/{quote(dag_run.run_id, safe='')}/taskInstances/{task.task_id}/0"
    psutil.Process(stack.client.call("GET", place)["pid"]).kill()
