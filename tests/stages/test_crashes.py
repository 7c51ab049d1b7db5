"""kill -9 in every stage, at every write, followed by a retry: the published rows are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from llm_eval import results
from llm_eval.layout import Layout
from llm_eval.stages import STAGES, run_stage
from llm_eval.stages.parts import PART_ROWS
from llm_eval.stages.plan import Wish, plan
from tests.builders import NOON, House, rows
from tests.conftest import CHECKOUT

# Runs a stage command in which the n-th rename (each file's last step) is where the power goes off.
DIES_AT_RENAME = """
import os, signal, sys
left, rename = int(sys.argv.pop(1)), os.replace
def dies(source, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = dies
sys.argv[0] = "llm-eval"
from llm_eval.cli import main
main()
"""
# The command line with a backend that answers a part and a few more, and then stays busy for minutes.
A_FEW = 50
STAYS = f"""
import sys, time
from llm_eval.backends.scripted import Scripted
def answer(self, requests, generation):
    for request in requests[:{PART_ROWS + A_FEW}]:
        yield self._reply(request, 0)
    time.sleep(600)
Scripted.answer = answer
sys.argv[0] = "llm-eval"
from llm_eval.cli import main
main()
"""
# One kill per number: the rename that the try dies at. A killed shard's parts stay, so its next try has fewer to write.
RENAMES = {
    "fetch": (0, 1, 2),
    "validate": (0, 1, 2),
    "render": (0, 1),
    "infer": (0, 1, 1, 1, 1),
    "score": (0, 1),
    "publish": (0, 1, 2),
}
CELLS = (
    "subset",
    "aggregation",
    "metric",
    "value",
    "stderr",
    "ci_low",
    "ci_high",
    "samples",
    "scored",
    "no_answer",
    "failed",
)


def stage_that_dies(house: House, stage: str, address: str, rename: int) -> int:
    command = [sys.executable, "-c", DIES_AT_RENAME, str(rename), "--quiet", stage, address]
    environment = {**os.environ, "LLM_EVAL_CATALOG": str(house.catalog_folder), "LLM_EVAL_DATASETS": str(house.data)}
    return subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, timeout=120).returncode


def planned(house: House, run_id: str) -> str:
    run = plan(house.catalog, house.settings, Wish("canned", "colours", run_id=run_id), NOON)
    return Layout(house.settings.root, run).run_uri


def published(house: House, run_id: str) -> list[dict[str, object]]:
    found = [asdict(r) for r in results.summary(house.settings.root) if r.run_id == run_id]
    return sorted(({k: r[k] for k in CELLS} for r in found), key=str)


def samples_published(house: House, run_id: str) -> list[tuple[object, ...]]:
    found = results.samples(house.settings.root, run_id, "canned", "colours")
    return sorted((r.sample_id, r.metric, r.value, r.answer, r.response) for r in found)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_at_any_write_and_run_again_publishes_what_an_undisturbed_run_does(house, tmp_path, stage):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    house.jsonl("colours.jsonl", rows(3 * PART_ROWS + 7))
    address = planned(house, "killed")
    for earlier in STAGES[: STAGES.index(stage)]:
        run_stage(earlier, address, house.settings)

    for rename in RENAMES[stage]:
        assert stage_that_dies(house, stage, address, rename) == -signal.SIGKILL
    for later in STAGES[STAGES.index(stage) :]:
        run_stage(later, address, house.settings)

    asked = Counter(journal.read_text().split())
    calm = House(tmp_path / "calm")
    calm.jsonl("colours.jsonl", rows(3 * PART_ROWS + 7))
    undisturbed = planned(calm, "undisturbed")
    for each in STAGES:
        run_stage(each, undisturbed, calm.settings)
    assert published(house, "killed") == published(calm, "undisturbed")
    assert samples_published(house, "killed") == samples_published(calm, "undisturbed")
    # Each kill loses at most the part in memory.
    assert sum(asked.values()) - len(asked) <= (len(RENAMES[stage]) * PART_ROWS if stage == "infer" else 0)


@pytest.mark.slow
def test_a_shard_killed_in_mid_answer_asks_nothing_again_that_is_on_disk(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    house.jsonl("colours.jsonl", rows(3 * PART_ROWS))
    address = planned(house, "killed")
    for earlier in ("fetch", "validate", "render"):
        run_stage(earlier, address, house.settings)
    shard = subprocess.Popen([sys.executable, "-c", STAYS, "-q", "infer", address], cwd=CHECKOUT)
    responses = Path(house.settings.root) / "responses"
    while not list(responses.glob("*/*/part-*.parquet")):
        assert shard.poll() is None
        time.sleep(0.01)
    shard.kill()
    shard.wait()

    run_stage("infer", address, house.settings)

    asked = Counter(journal.read_text().split())
    assert len(asked) == 3 * PART_ROWS
    assert sum(asked.values()) - len(asked) <= A_FEW


@pytest.mark.slow
def test_a_terminated_shard_writes_what_it_holds(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal), "seconds_per_reply": 0.02})
    house.jsonl("colours.jsonl", rows(PART_ROWS))
    address = planned(house, "terminated")
    for earlier in ("fetch", "validate", "render"):
        run_stage(earlier, address, house.settings)
    shard = subprocess.Popen([sys.executable, "-m", "llm_eval", "-q", "infer", address], cwd=CHECKOUT)
    while not (journal.exists() and len(journal.read_text().split()) > 20):
        assert shard.poll() is None
        time.sleep(0.01)
    shard.terminate()

    assert shard.wait(timeout=60) == 128 + signal.SIGTERM
    run_stage("infer", address, house.settings)
    asked = Counter(journal.read_text().split())
    assert sum(asked.values()) - len(asked) <= 1  # the one that was being answered


@pytest.mark.slow
def test_two_runs_of_the_same_pair_at_once_both_publish_the_same_rows(house, tmp_path):
    house.model(backend={"kind": "scripted", "seconds_per_reply": 0.001})
    house.jsonl("colours.jsonl", rows(PART_ROWS))
    command = [sys.executable, "-m", "llm_eval", "-q", "--catalog", str(house.catalog_folder), "--root"]
    command += [house.settings.root, "run", "-m", "canned", "-d", "colours", "--format", "json"]

    runs = [subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [run.communicate(timeout=240)[0] for run in runs]

    assert [run.returncode for run in runs] == [0, 0, 0]
    found = [json.loads(text) for text in printed]
    tables = [[{k: row[k] for k in CELLS} for row in rows] for rows in found]
    assert tables[0] == tables[1] == tables[2]
    ids = {row["run_id"] for rows in found for row in rows}
    assert len(ids) == 3
    assert {r.run_id for r in results.summary(house.settings.root)} == ids
