"""A real Airflow: scheduler, workers, DAG processor and API server, on a database and a root of the test's own."""

import itertools
import socket
import stat
import subprocess
import sys
import time
from collections import Counter
from urllib.parse import quote

import httpx
import psutil
import pytest
from rich.console import Console

from llm_eval import results
from llm_eval.airflow.environment import LOCK_SECONDS, Ports, airflow_settings
from llm_eval.airflow.home import lock_home, password_of
from llm_eval.airflow.processes import end_sessions, members
from llm_eval.airflow.stack import Stack, free_port
from llm_eval.remote.client import AirflowClient
from llm_eval.remote.watch import wait_for
from llm_eval.settings import HOME
from tests.airflow.faults import gone
from tests.backends.api_server import refused, said, serving
from tests.backends.tiny_models import save_llama

pytestmark = pytest.mark.timeout(900)

CONSOLE = Console(force_terminal=False)
RUN_SECONDS = 180.0
KEY = "sk-secret-4711"
SERVED = {"kind": "openai", "model": "m", "keys": ["SERVER_KEY"]}
MANY = tuple(f"at-once-{number}" for number in range(5))


def test_a_second_stack_takes_the_next_home(tmp_path):
    first_lock, first = lock_home(tmp_path / "airflow")
    second_lock, second = lock_home(tmp_path / "airflow")
    first_lock.close()
    third_lock, third = lock_home(tmp_path / "airflow")

    assert [first.name, second.name, third.name] == ["airflow", "airflow-2", "airflow"]
    second_lock.close()
    third_lock.close()


def test_a_port_that_is_taken_is_not_taken_again():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        taken = listening.getsockname()[1]

        assert free_port(taken) not in (taken, 0)
    assert free_port(taken) == taken


def test_a_worker_waits_for_an_answer_for_longer_than_the_answer_for_the_database(tmp_path):
    told = airflow_settings(tmp_path, Ports(1, 2))

    assert float(told["AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT"]) > LOCK_SECONDS


def test_the_password_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "passwords.json"

    assert password_of(path) == password_of(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ending_a_session_reaches_a_process_that_left_its_parent_and_its_group():
    script = "import os, time\nif os.fork() == 0:\n os.setpgid(0, 0)\n print(os.getpid(), flush=True)\n time.sleep(60)"
    leader = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    stray = int(leader.stdout.readline())
    leader.wait()

    assert [process.pid for process in members({leader.pid})] == [stray]

    assert end_sessions({leader.pid}) == []
    assert members({leader.pid}) == []


@pytest.fixture(scope="module")
def server():
    with serving(lambda body, number: said("A") if number % 4 else refused(429, "slow down")) as server:
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory, small_catalog, server):
    """An Airflow over the small catalog; afterwards, none of its processes may be there."""
    folder = tmp_path_factory.mktemp("stack")
    place = small_catalog(folder)
    save_llama(folder / "models" / "sleepy", adds_bos=False)
    # Stands for a model that takes its time: its process leaves its id, then waits to be killed.
    interpreter = folder / "python"
    interpreter.write_text(f'#!/bin/sh\necho $$ > "{folder}/pid"\nexec sleep 3600\n')
    interpreter.chmod(0o755)
    sleepy = {"backend": {"kind": "transformers", "path": "sleepy"}, "chat": False, "context_tokens": 512}
    place.write("models", "sleepy", sleepy)
    place.write("suites", "small", {**place.suite, "models": ["canned", "gone", "sleepy"]})
    place.write("models", "busy", place.canned)
    place.write("models", "served", {"backend": {**SERVED, "base_urls": [server.url]}, "chat": True})
    place.write("suites", "hosted", {"models": ["served"], "datasets": ["tiny"]})
    for name in MANY:
        place.write("datasets", name, place.tiny)
    place.write("suites", "at-once", {"models": ["busy"], "datasets": list(MANY)})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "LLM_EVAL_CATALOG": place.catalog,
            "LLM_EVAL_ROOT": place.root,
            "LLM_EVAL_MODELS": folder / "models",
            "LLM_EVAL_PYTHON": interpreter,
            "HF_HUB_OFFLINE": "1",
            "SERVER_KEY": KEY,
        }.items():
            patch.setenv(name, str(value))
        stack = Stack(folder / "airflow")
        with stack:
            sessions = {component.process.pid for component in stack._components}
            yield stack, place, folder
        assert members(sessions) == []


def run(client: AirflowClient, dag_id, **conf):
    client.set_paused(dag_id, False)
    (outcome,) = wait_for(client, {dag_id: client.trigger(dag_id, conf)}, CONSOLE, RUN_SECONDS)
    return outcome


@pytest.mark.airflow
def test_a_triggered_run_publishes_its_rows(running, capsys):
    stack, place, _ = running

    outcome = run(stack.client, "eval__canned__tiny", limit=6)

    assert outcome.reason is None
    with capsys.disabled():
        CONSOLE.print(f"\nfrom trigger to success: {outcome.seconds:.1f} s")
    (row,) = (row for row in results.summary(str(place.root), models=("canned",)) if row.headline)
    assert (row.dataset, row.suite, row.samples, row.sample_limit) == ("tiny", "small", 6, 6)


@pytest.mark.airflow
def test_the_leaderboard_follows_a_published_result(running):
    stack, place, _ = running
    stack.client.set_paused("leaderboard__small", False)

    run(stack.client, "eval__canned__tiny")

    limit = time.monotonic() + RUN_SECONDS
    while not (runs := [r for r in stack.client.runs(["leaderboard__small"]) if r.ended_at]):
        assert time.monotonic() < limit
        time.sleep(0.5)
    assert runs[0].state == "success"
    assert (place.root / "leaderboards" / "small" / "leaderboard.html").exists()


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("dag_id", "conf", "reason"),
    [
        ("eval__gone__tiny", {}, "model 'gone': there is no folder 'no/such-folder'"),
        ("eval__canned__tiny", {"limits": 3}, "the run's configuration: unknown key 'limits'. Allowed: checkpoint"),
    ],
)
def test_a_mistake_fails_at_once_and_its_reason_is_the_last_line_of_the_log(running, dag_id, conf, reason):
    stack, *_ = running

    outcome = run(stack.client, dag_id, **conf)

    assert outcome.reason.startswith(f"plan: {reason}")
    (plan,) = (task for task in stack.client.tasks(outcome.run) if task.task_id == "plan")
    assert plan.try_number == 1


@pytest.mark.airflow
def test_a_task_that_is_stopped_by_hand_takes_the_models_process_with_it(running):
    stack, _, folder = running
    stack.client.set_paused("eval__sleepy__tiny", False)
    dag_run = stack.client.trigger("eval__sleepy__tiny")
    limit = time.monotonic() + RUN_SECONDS
    while not (folder / "pid").exists() or not (pid := (folder / "pid").read_text().strip()):
        assert time.monotonic() < limit
        assert "failed" not in {task.state for task in stack.client.tasks(dag_run)}
        time.sleep(0.2)

    process = psutil.Process(int(pid))
    place = f"/api/v2/dags/{dag_run.dag_id}/dagRuns/{quote(dag_run.run_id, safe='')}/taskInstances"
    stack.client.call("PATCH", f"{place}/infer/0", {"new_state": "failed"})

    gone(process)


@pytest.mark.airflow
def test_a_served_model_is_asked_in_the_pool_of_apis_and_its_key_stays_out_of_everything(running, server):
    stack, place, _ = running

    outcome = run(stack.client, "eval__served__tiny")

    assert outcome.reason is None
    (row,) = (row for row in results.summary(str(place.root), models=("served",)) if row.headline)
    assert (row.value, row.samples, row.failed) == (1.0, 12, 0)
    assert {*server.keys} == {KEY}
    tasks = f"/api/v2/dags/{outcome.run.dag_id}/dagRuns/{quote(outcome.run.run_id, safe='')}/taskInstances"
    pools = {task["task_id"]: task["pool"] for task in stack.client.call("GET", tasks)["task_instances"]}
    assert (pools["infer"], pools["score"]) == ("api", "default_pool")
    left = [path for place in (place.root, stack.home) for path in place.rglob("*") if path.is_file()]
    assert len(left) > 50  # everything under the root, Airflow's database and all its logs
    assert [path for path in left if KEY.encode() in path.read_bytes()] == []


@pytest.mark.airflow
def test_many_runs_asked_for_at_once_all_publish(running):
    # Four of each DAG are at work together, so that first results of one pair are announced at the same moment.
    stack, place, _ = running
    dag_ids = [f"eval__busy__{name}" for name in MANY]
    for dag_id in dag_ids:
        stack.client.set_paused(dag_id, False)

    runs = {f"{dag_id} {n}": stack.client.trigger(dag_id, {"limit": 3 + n}) for n in range(4) for dag_id in dag_ids}

    outcomes = wait_for(stack.client, runs, CONSOLE, 2 * RUN_SECONDS)
    assert {outcome.label: outcome.reason for outcome in outcomes if outcome.reason} == {}
    assert stack.first_ended() is None
    published = [row for row in results.summary(str(place.root), models=("busy",)) if row.headline]
    assert Counter((row.dataset, row.samples) for row in published) == dict.fromkeys(
        itertools.product(MANY, range(3, 7)), 1
    )


@pytest.mark.airflow
def test_the_leaderboard_page_is_behind_airflows_login(running):
    stack, *_ = running
    token = stack.client._http.headers["Authorization"]

    assert httpx.get(f"{stack.url}/llm-eval/", trust_env=False).status_code == 401
    assert httpx.get(f"{stack.url}/llm-eval/", trust_env=False, headers={"Authorization": token}).status_code == 200
    views = [
        view for plugin in stack.client.call("GET", "/api/v2/plugins")["plugins"] for view in plugin["external_views"]
    ]
    assert "/llm-eval/" in [view["href"] for view in views]


@pytest.mark.airflow
def test_nothing_of_the_stack_listens_to_the_network(running):
    stack, *_ = running
    sessions = {component.process.pid for component in stack._components}

    assert {address for process in members(sessions) for address in listens_on(process)} == {"127.0.0.1"}


def listens_on(process):
    """Nothing, if it has just ended."""
    try:
        return {connection.laddr.ip for connection in process.net_connections() if connection.status == "LISTEN"}
    except psutil.Error:
        return set()


@pytest.mark.airflow
def test_the_pools_of_the_project_are_there(running):
    stack, *_ = running

    assert {pool["name"] for pool in stack.client.call("GET", "/api/v2/pools")["pools"]} >= {"gpu", "api"}


@pytest.mark.airflow
def test_a_stack_that_cannot_start_shows_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.exit('no Airflow today')")

    with pytest.raises(Exception, match="no Airflow today"), Stack(tmp_path / "airflow"):
        pass


@pytest.mark.airflow
def test_a_stack_whose_owner_is_killed_ends_too(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from llm_eval.airflow.stack import Stack\n"
        f"with Stack(Path({str(tmp_path / 'airflow')!r})) as stack:\n"
        "    print(*(c.process.pid for c in stack._components), flush=True); time.sleep(300)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=HOME)
    sessions = {int(pid) for pid in owner.stdout.readline().split()}
    assert len(members(sessions)) > len(sessions)

    owner.kill()
    owner.wait()

    lock, home = lock_home(tmp_path / "airflow")

    assert home == tmp_path / "airflow"  # whoever comes next waits for the end of what was there
    assert members(sessions) == []
    lock.close()
