"""What goes wrong in the middle of an evaluation: its run finishes by itself, and its results do not show it.

One Airflow, with the settings that we ship but for how soon it forgets a DAG and how many tasks it runs. What can go
wrong side by side does: the runs of the first half are all at work at once.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_eval.airflow.deployment import Deployment
from llm_eval.airflow.stack import Stack
from tests.airflow.faults import QUESTIONS, Slow, fill, finished, gone, infer_process, kill, locked, loss, tries, until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

MODELS = ("calm", "task", "supervisor", "full", "gone", "scheduler", "stack", "locked", "away")
FORGET_SECONDS = 30
SETTINGS = {
    "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "16",  # the models only sleep
    "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": str(FORGET_SECONDS),
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "2",
}
# Those that are disturbed are at work for much longer than it takes to do so, and the model that leaves for longer than
# Airflow remembers a DAG after that.
SLOWLY = {"task": 1.5, "supervisor": 1.5, "full": 1.5, "gone": 2.0, "away": 1.0}
PACES = {name: {"seconds_per_reply": pace} for name, pace in {"calm": 0.0, **SLOWLY}.items()}
LOCK_SECONDS = 40.0  # longer than our processes wait for it
AWAY_SECONDS = 8.0  # shorter than the model is at work


class Airflow:
    """The models under test, and the stack that evaluates them, which the tests kill and start again."""

    def __init__(self, folder: Path, place) -> None:
        self.place, self._home = place, folder / "airflow"
        self.models = {name: Slow(name, place.root, folder / f"{name}.journal") for name in MODELS}
        self.start()

    def start(self) -> None:
        self.stack = Stack(self._home, deployment=Deployment(settings=SETTINGS))
        self.stack.__enter__()
        self.client = self.stack.client

    def trigger(self, name: str):
        self.client.set_paused(self.models[name].dag_id, False)
        return self.client.trigger(self.models[name].dag_id)

    def forget(self, name: str) -> None:
        """Take a model out of the catalog."""
        (self.place.catalog / "models" / f"{name}.yaml").unlink()
        self.place.write("suites", "small", {"models": [m for m in MODELS if m != name], "datasets": ["forty"]})

    def rows(self, name: str) -> list[dict[str, object]]:
        return self.models[name].rows()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, small_catalog) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("faults")
    place = small_catalog(folder)
    tiny = (place.catalog / "datasets" / "tiny.yaml").read_text()
    place.write("datasets", "forty", tiny.replace("tiny", "forty"))
    rows = [json.dumps({"question": f"Question {i}?", "answer": "ABC"[i % 3]}) for i in range(QUESTIONS)]
    (folder / "data" / "forty.jsonl").write_text("\n".join(rows))
    place.write("suites", "small", {"models": list(MODELS), "datasets": ["forty"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm_eval.airflow.stack.LIFE_SECONDS", 0.0)  # a scheduler is killed soon after its start
        patch.setenv("LLM_EVAL_CATALOG", str(place.catalog))
        patch.setenv("LLM_EVAL_ROOT", str(place.root))
        for name in MODELS:
            slow = Slow(name, place.root, folder / f"{name}.journal")
            place.write("models", name, slow.spec(**PACES.get(name, {})))
        running = Airflow(folder, place)
        try:
            yield running
        finally:
            running.stack.stop()


@pytest.fixture(scope="module")
def disturbed(airflow) -> Iterator[SimpleNamespace]:
    """Runs that are disturbed side by side: their ends, and what each had lost at its fault."""
    full = airflow.place.root / "responses" / "full"
    full.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", full], capture_output=True)
    can_fill = mounted.returncode == 0
    names = ["calm", "task", "supervisor", "gone", *(["full"] if can_fill else [])]
    lost, ended = {}, {}
    try:
        runs = {name: airflow.trigger(name) for name in names}
        for name in ("task", "supervisor"):
            airflow.models[name].wait_for_a_part()
            process = infer_process(airflow.client, runs[name])
            victim = process if name == "task" else process.parent()
            victim.kill()
            gone(process)
            lost[name] = loss(airflow.models[name])
        airflow.forget("gone")
        if can_fill:
            airflow.models["full"].wait_for_a_part()
            fill(full / "filler")
            until(lambda: "infer" in tries(airflow.client, runs["full"]), "a try that fails of a full disk")
            (full / "filler").unlink()
        ended |= {name: finished(airflow.client, run) for name, run in runs.items()}
        assert len(airflow.rows("calm")) == QUESTIONS + 1  # and the summary's
        yield SimpleNamespace(runs=runs, ended=ended, lost=lost, can_fill=can_fill, why=mounted.stderr.decode())
    finally:
        subprocess.run(["umount", full], check=False, capture_output=True)


@pytest.mark.parametrize("victim", ["task", "supervisor"])
def test_an_evaluation_survives_the_kill_of_its(airflow, disturbed, victim):
    assert disturbed.ended[victim] == "success"
    assert tries(airflow.client, disturbed.runs[victim]) == {"infer": 2}
    assert disturbed.lost[victim].was_all_that_was_asked_twice()
    assert airflow.rows(victim) == airflow.rows("calm")


def test_a_full_disk_costs_a_try(airflow, disturbed):
    if not disturbed.can_fill:
        pytest.skip(f"no disk of its own to fill: {disturbed.why}")

    assert disturbed.ended["full"] == "success"
    assert tries(airflow.client, disturbed.runs["full"]) == {"infer": 2}
    assert airflow.rows("full") == airflow.rows("calm")


def test_a_run_whose_model_leaves_the_catalog_ends_as_planned_and_the_dag_disappears(airflow, disturbed):
    assert disturbed.ended["gone"] == "success"
    assert tries(airflow.client, disturbed.runs["gone"]) == {}
    assert airflow.rows("gone") == airflow.rows("calm")
    until(lambda: airflow.client.call("GET", "/api/v2/dags", dag_id_pattern="gone")["dags"] == [], "no DAG of it")


def test_an_evaluation_survives_the_kill_of_the_scheduler(airflow):
    model, run = airflow.models["scheduler"], airflow.trigger("scheduler")
    model.wait_for_a_part()

    kill(airflow.stack, "scheduler")
    lost = loss(model)
    until(airflow.stack.first_ended, "the scheduler's end")
    assert airflow.stack.revive() == ["scheduler"]

    assert finished(airflow.client, run) == "success"
    assert lost.was_all_that_was_asked_twice()
    assert airflow.rows("scheduler") == airflow.rows("calm")


def test_an_evaluation_survives_the_kill_of_everything(airflow):
    model, run = airflow.models["stack"], airflow.trigger("stack")
    model.wait_for_a_part()

    kill(airflow.stack)
    lost = loss(model)
    airflow.stack.stop()
    airflow.start()

    assert finished(airflow.client, run) == "success"
    assert lost.was_all_that_was_asked_twice()
    assert airflow.rows("stack") == airflow.rows("calm")


def test_an_evaluation_survives_a_locked_database(airflow):
    model, run = airflow.models["locked"], airflow.trigger("locked")
    model.wait_for_a_part()

    with locked(airflow.stack.home / "airflow.db"):
        time.sleep(LOCK_SECONDS)

    assert finished(airflow.client, run, meanwhile=airflow.stack.revive) == "success"  # some may die of it, even later
    assert airflow.rows("locked") == airflow.rows("calm")


def test_an_evaluation_survives_a_root_that_is_away_for_a_while(airflow):
    model, run = airflow.models["away"], airflow.trigger("away")
    model.wait_for_a_part()
    root, away = airflow.place.root, airflow.place.root.with_name("away")

    root.rename(away)
    time.sleep(AWAY_SECONDS)
    was_made_anew = root.exists()
    shutil.rmtree(root, ignore_errors=True)
    away.rename(root)

    assert not was_made_anew
    assert finished(airflow.client, run) == "success"
    assert len(model.asked()) == QUESTIONS  # what could not be written was kept
    assert airflow.rows("away") == airflow.rows("calm")
