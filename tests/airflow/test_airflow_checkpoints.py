"""Checkpoints in a real Airflow: schedule, backfill, event, report and gate."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest

from llm_eval import results
from llm_eval.airflow.stack import Stack
from llm_eval.remote import client
from llm_eval.remote.client import RequestRefused
from tests.airflow.receivers import webhooks

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]

SECONDS = 600.0
DATASETS = ("one", "two")
EVALUATIONS = tuple(f"eval__trained__{dataset}" for dataset in DATASETS)
REPORT = "report__small__trained"


@pytest.fixture(scope="module")
def world(tmp_path_factory, small_catalog):
    """An Airflow over a model with three checkpoints of November 2025 and a suite of two datasets with a gate."""
    folder = tmp_path_factory.mktemp("checkpoints")
    place = small_catalog(folder)
    place.write("models", "trained", model("A"))
    for dataset in DATASETS:
        place.write("datasets", dataset, place.tiny)
    gate = {"max_drop": 0.05, "against": "previous"}
    channels = [
        {"kind": "slack", "connection": "chat", "events": ["gate", "failure"]},
        {"kind": "slack", "connection": "failures", "events": ["failure"]},
    ]
    suite = {"models": ["trained"], "datasets": list(DATASETS), "gate": gate, "notify": channels}
    place.write("suites", "small", suite)
    place.write(
        "suites", "often", {"models": ["ticking"], "datasets": ["one"], "schedule": "* * * * *", "only_new": True}
    )
    place.write("models", "ticking", model("A"))
    place.write("models", "wide", {**model("A"), "run_on": "kubernetes", "resources": {"gpus": 4, "image": "i:1"}})
    place.write("suites", "large", {"models": ["wide"], "datasets": ["one"]})
    questions = [{"question": f"Question {i}?", "answer": "A"} for i in range(60)]
    (folder / "data" / "tiny.jsonl").write_text("".join(f"{json.dumps(question)}\n" for question in questions))
    with webhooks() as hooks, pytest.MonkeyPatch.context() as patch:
        for name in ("chat", "failures"):
            there = {"conn_type": "slackwebhook", "host": f"{hooks.url}/ok/{name}", "password": "T0/B0/XYZ"}
            patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(there))
        for name, value in {
            "LLM_EVAL_CATALOG": place.catalog,
            "LLM_EVAL_ROOT": place.root,
            "AIRFLOW_HOME": folder / "airflow",
        }.items():
            patch.setenv(name, str(value))
        with Stack(folder / "airflow") as stack:
            yield World(stack, place, folder, hooks)


def model(reply: str) -> dict:
    return {"backend": {"kind": "scripted", "replies": [reply]}, "chat": False, "checkpoints": {"kind": "registry"}}


class World:
    def __init__(self, stack, place, folder, hooks):
        self.stack, self.client, self.place, self.folder, self.hooks = stack, stack.client, place, folder, hooks
        for day in (1, 2, 3):
            self.register("trained", f"step-{day}", f"2025-11-0{day}T03:00:00")

    def register(self, model, name, created_at=None, *options):
        path = self.folder / "weights" / name
        path.mkdir(parents=True, exist_ok=True)
        dated = ["--created-at", created_at] if created_at else []
        return self.command("checkpoint", "register", model, str(path), *dated, *options)

    def command(self, *arguments, code=0):
        """What `llm-eval` prints, to both its outputs."""
        command = [sys.executable, "-m", "llm_eval", "-q", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=SECONDS)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def values(self, model="trained"):
        """(checkpoint, dataset) → what was published last."""
        found = results.current(results.summary(str(self.place.root), models=(model,)))
        return {(row.checkpoint, row.dataset): row.value for row in found if row.headline}

    def ended(self, dag_id, run_id):
        """The run, once it has ended."""

        def run():
            found = [r for r in self.client.runs([dag_id]) if r.run_id == run_id]
            return found[0] if found and found[0].ended_at else None

        return until(run)


def until(found: Callable):
    limit = time.monotonic() + SECONDS
    while not (value := found()):
        assert time.monotonic() < limit
        time.sleep(0.5)
    return value


def test_a_backfill_evaluates_each_checkpoint_of_the_range_once(world, monkeypatch):
    monkeypatch.setattr(client, "PAGE", 1)  # Airflow hands out no more than 100 at once: more have to be asked for
    asked = ("backfill", "trained", "--from", "2025-11-01", "--to", "2025-11-02")

    planned = world.command(*asked, "--dry-run")
    assert planned.splitlines() == [f"{dag_id}: step-1, step-2" for dag_id in (*EVALUATIONS, REPORT)]
    assert world.values() == {}

    world.client.set_paused("leaderboard__small", False)
    world.command(*asked)
    assert world.values() == {(f"step-{n}", dataset): 1.0 for n in (1, 2) for dataset in DATASETS}
    assert (world.place.root / "reports" / "small" / "trained" / "step-2" / "report.html").exists()
    runs = world.client.runs((*EVALUATIONS, REPORT))
    assert Counter(run.dag_id for run in runs if run.state == "success") == dict.fromkeys((*EVALUATIONS, REPORT), 2)
    until(lambda: [run for run in world.client.runs(["leaderboard__small"]) if run.ended_at])
    assert "step-2" in (world.place.root / "leaderboards" / "small" / "leaderboard.html").read_text()
    assert "or all of them have their runs (--reprocess)" in world.command(*asked, code=2)


def test_more_gpus_than_the_pool_has_are_refused_before_there_is_a_run(world):
    world.register("wide", "step-1", "2025-11-01T03:00:00")
    dag_id = "eval__wide__one"
    refusal = f"{dag_id}: infer takes 4 slots of the pool 'gpu', which has 1"

    assert refusal in world.command("backfill", "wide", "--from", "2025-11-01", code=2)
    started = world.command("checkpoint", "register", "wide", str(world.folder / "weights" / "step-1"), "--now", code=2)
    assert refusal in started
    assert world.client.runs([dag_id, "checkpoint__wide"]) == []
    larger = {"pool": "gpu", "slots": 4, "include_deferred": True}
    world.client.call("PATCH", "/api/v2/pools/gpu?update_mask=slots", larger)
    asked = ("backfill", "wide", "--from", "2025-11-01", "--dry-run")
    assert f"{dag_id}: step-1" in world.command(*asked).splitlines()
    world.client.call("DELETE", "/api/v2/pools/gpu")
    assert "infer takes 4 slots of the pool 'gpu', which is not there" in world.command(*asked, code=2)


def test_airflows_own_backfill_takes_parameters_and_goes_backwards(world):
    command = [sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", EVALUATIONS[0]]
    command += ["--from-date", "2025-11-01", "--to-date", "2025-11-08", "--reprocess-behavior", "completed"]
    command += ["--dag-run-conf", '{"limit": 7}', "--max-active-runs", "1", "--run-backwards"]
    world.client.set_paused(EVALUATIONS[0], False)
    # Airflow takes half a minute to see that the backfill of another test has ended.
    backfills = f"/api/v2/backfills?dag_id={EVALUATIONS[0]}"
    until(lambda: all(one["completed_at"] for one in world.client.call("GET", backfills)["backfills"]))
    before = {run.run_id for run in world.client.runs([EVALUATIONS[0]])}

    done = subprocess.run(command, env=world.stack.environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr

    def made():
        new = [run for run in world.client.runs([EVALUATIONS[0]]) if run.run_id not in before]
        return new if len(new) == 3 and all(run.ended_at for run in new) else None

    runs = sorted(until(made), key=lambda run: run.started_at)
    assert [(run.partition_key, run.state) for run in runs] == [(f"step-{n}", "success") for n in (3, 2, 1)]
    assert all(first.ended_at <= second.started_at for first, second in itertools.pairwise(runs))
    limited = [r for r in results.summary(str(world.place.root), models=("trained",)) if r.sample_limit == 7]
    assert {(row.checkpoint, row.samples) for row in limited} == {(f"step-{n}", 7) for n in (1, 2, 3)}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"partition_key": "step-7"}, "'step-7' is no registered checkpoint of trained. The newest: step-3"),
        ({"conf": {"limit": 0}}, "limit"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_there_is_a_run(world, request_, reason):
    with pytest.raises(RequestRefused, match=reason) as refused:
        world.client.trigger(EVALUATIONS[0], **request_)
    assert refused.value.status == 400


def test_a_checkpoint_registered_with_now_is_evaluated_on_the_whole_suite_and_a_drop_fails_the_gate(world):
    world.place.write("models", "trained", model("B"))  # from here on, all answers are wrong
    for dag_id in (*EVALUATIONS, REPORT):
        world.client.set_paused(dag_id, False)

    told = world.register("trained", "step-4", "2025-11-04T03:00:00", "--now")

    assert told.splitlines()[1] == "Airflow: checkpoint__trained starts 3 DAGs for step-4"
    (start,) = until(lambda: [run for run in world.client.runs(["checkpoint__trained"]) if run.ended_at])
    assert start.state == "success"
    (report,) = [run for run in world.client.runs([REPORT]) if run.run_id.startswith("checkpoint__step-4__")]
    ended = world.ended(REPORT, report.run_id)
    assert {world.values()["step-4", dataset] for dataset in DATASETS} == {0.0}
    assert ended.state == "failed"
    assert world.client.why_failed(ended).startswith("gate: ")
    gate = [task for task in world.client.tasks(ended) if task.task_id == "gate"]
    assert [task.try_number for task in gate] == [1]
    # Who asks for gates is told of the gate, and not of the failed run as well.
    world.hooks.wait_for("the report on trained failed")
    assert [text.splitlines()[0] for text in world.hooks.texts("/ok/failures")] == ["*the report on trained failed*"]
    (chat,) = world.hooks.texts("/ok/chat")
    assert chat.splitlines()[0] == "*trained did not pass the gate of small*"


def test_an_event_may_bring_a_new_checkpoint_along(world):
    weights = world.folder / "weights" / "step-5"
    weights.mkdir(parents=True)
    world.client.set_paused("checkpoint__trained", False)
    (asset,) = world.client.call("GET", "/api/v2/assets", name_pattern="checkpoint__trained")["assets"]
    event = {"asset_id": asset["id"], "partition_key": "step-5", "extra": {"path": str(weights)}}

    world.client.call("POST", "/api/v2/assets/events", event)

    until(lambda: {("step-5", dataset) for dataset in DATASETS} <= world.values().keys())
    assert "step-5" in world.command("checkpoint", "list", "trained")


def test_a_tick_evaluates_the_newest_checkpoint_and_only_once_where_the_suite_says_so(world):
    world.register("ticking", "step-1", "2025-11-01T03:00:00")
    world.register("ticking", "step-2", "2025-11-02T03:00:00")
    world.client.set_paused("eval__ticking__one", False)
    until(lambda: ("step-2", "one") in world.values("ticking"))

    world.register("ticking", "step-3", "2025-11-03T03:00:00")
    until(lambda: ("step-3", "one") in world.values("ticking"))

    keys = [run.partition_key for run in world.client.runs(["eval__ticking__one"])]
    assert sorted(keys) == ["step-2", "step-3"]
