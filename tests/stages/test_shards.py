"""The shards of one run side by side, as real processes: the number at a time is given, as if there were GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from llm_eval import child, tables
from llm_eval.errors import InputError, RunFailed
from llm_eval.layout import Layout
from llm_eval.records import Response
from llm_eval.specs import ModelSpec
from llm_eval.stages import run_stage
from llm_eval.stages.plan import Wish, parse_params, plan
from llm_eval.stages.shards import infer, usable_gpus, visible_gpus
from tests.builders import MODEL, NOON, House
from tests.conftest import CHECKOUT, SOON_SECONDS

# What LLM_EVAL_PYTHON names: each shard answers three requests and then stays in native code for minutes.
BUSY = """
import hashlib
from pathlib import Path
from llm_eval.backends.scripted import Scripted
def answer(self, requests, generation):
    for request in requests[:3]:
        yield self._reply(request, 0)
    Path(__file__).with_name("busy").touch()
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
Scripted.answer = answer
"""
# The same, but shard 1/2 fails as soon as shard 0/2 is busy.
ONE_FAILS = """
import sys, time
from llm_eval.errors import BackendLost
def lost(self, requests, generation):
    while not Path(__file__).with_name("busy").exists():
        time.sleep(0.01)
    raise BackendLost("the server went away")
if sys.argv[-1] == "1/2":
    Scripted.answer = lost
"""
# Each shard says when it begins and ends to answer; the first two are at work together.
MEETING = """
import sys, time
from pathlib import Path
from llm_eval.backends.scripted import Scripted
answer, order, shard = Scripted.answer, Path(__file__).with_name("order"), sys.argv[-1]
def say(what):
    with order.open("a") as said:
        print(what, shard, file=said)
def meeting(self, requests, generation):
    say("begins")
    while shard != "2/3" and not {"begins 0/3", "begins 1/3"} <= set(order.read_text().splitlines()):
        time.sleep(0.01)
    time.sleep(0.5)  # for a third one that would come too early
    yield from answer(self, requests, generation)
    say("ends")
Scripted.answer = meeting
"""
MAIN = 'import sys\nsys.argv[0] = "llm-eval"\nfrom llm_eval.cli import main\nmain()\n'
# `llm-eval run` from infer on, on a machine with two GPUs.
PARENT = """
import logging, os, sys
from llm_eval import child, signals
from llm_eval.settings import Settings
from llm_eval.stages import load_run
from llm_eval.stages.shards import infer
child.TERMINATE_SECONDS = 60  # what shards hold is saved however slow the disk
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
signals.take_charge()
infer(load_run(sys.argv[1]), Settings.from_environment(os.environ), workers=2)
"""


@pytest.fixture
def journal(house, tmp_path):
    path = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(path)})
    return path


def ready_to_infer(house: House, shards: int):
    run = plan(house.catalog, house.settings, Wish("canned", "colours", parse_params({"shards": shards}, "test")), NOON)
    for stage in ("fetch", "validate", "render"):
        run_stage(stage, Layout(house.settings.root, run).run_uri, house.settings)
    return run


def responses(house: House) -> Path:
    return Path(house.settings.root) / "responses"


def on_disk(house: House) -> list[Response]:
    return tables.read_all([str(p) for p in responses(house).glob("*/*/part-*.parquet")], Response)


def manifests(house: House) -> list[str]:
    return sorted(p.name for p in responses(house).glob("*/*/manifest-*.json"))


def interpreter(folder: Path, code: str) -> str:
    """A Python that runs `code` before the stage that it is asked for (`-m llm_eval STAGE …`)."""
    script, start = folder / "shard.py", folder / "python"
    script.write_text(code + MAIN)
    start.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {script} "$@"\n')
    start.chmod(0o755)
    return str(start)


@pytest.mark.slow
def test_every_shard_is_answered_once_and_two_at_a_time(house, journal, tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_EVAL_PYTHON", interpreter(tmp_path, MEETING))
    run = ready_to_infer(house, 3)

    infer(run, house.settings, workers=2)

    assert Counter(journal.read_text().split()) == {str(i): 1 for i in range(12)}
    assert manifests(house) == ["manifest-0of3.json", "manifest-1of3.json", "manifest-2of3.json"]
    order = (tmp_path / "order").read_text().splitlines()
    assert sorted(order[:2]) == ["begins 0/3", "begins 1/3"]
    assert order[2] in ("ends 0/3", "ends 1/3")


@pytest.mark.parametrize(("shards", "workers"), [(3, 1), (3, 0), (1, 8)])
def test_one_process_answers_everything_where_there_are_no_several_gpus(house, journal, shards, workers):
    run = ready_to_infer(house, shards)

    infer(run, house.settings, workers=workers)

    assert Counter(journal.read_text().split()) == {str(i): 1 for i in range(12)}
    assert manifests(house) == ["manifest-0of1.json"]


@pytest.mark.slow
def test_the_first_failure_ends_the_others_which_keep_what_they_have(house, journal, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "TERMINATE_SECONDS", 60)  # what shards hold is saved however slow the disk
    monkeypatch.setenv("LLM_EVAL_PYTHON", interpreter(tmp_path, BUSY + ONE_FAILS))
    run = ready_to_infer(house, 2)

    with pytest.raises(RunFailed, match="shard 1/2: the server went away"):
        infer(run, house.settings, workers=2)

    assert {r.request_id for r in on_disk(house)} == set(journal.read_text().split())
    assert len(on_disk(house)) == 3
    assert manifests(house) == []


@pytest.mark.slow
def test_bad_input_of_a_shard_is_bad_input_of_the_run(house, journal, tmp_path, monkeypatch):
    run = ready_to_infer(house, 2)
    monkeypatch.setenv("LLM_EVAL_PYTHON", interpreter(tmp_path, "raise SystemExit(2)\n"))

    with pytest.raises(InputError, match=r"shard \d/2: exit code 2, and not a word"):
        infer(run, house.settings, workers=2)


def started_parent(house: House, folder: Path) -> subprocess.Popen[str]:
    """A run whose two shards have each answered three requests and are busy."""
    address = Layout(house.settings.root, ready_to_infer(house, 2)).run_uri
    place = {"LLM_EVAL_ROOT": house.settings.root, "LLM_EVAL_PYTHON": interpreter(folder, BUSY)}
    environment = {**os.environ, **place}
    command = [sys.executable, "-c", textwrap.dedent(PARENT), address]
    parent = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    busy = (line for line in parent.stdout if line.endswith(" busy\n"))
    assert all([next(busy, ""), next(busy, "")])
    time.sleep(1.0)  # between the line and what it announces
    return parent


def shards_running(folder: Path) -> list[str]:
    """Process ids of the shards whose interpreter is in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder / "shard.py").encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue  # ended meanwhile
    return found


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_all_shards_which_keep_what_they_have(house, journal, tmp_path, number, exit_code):
    parent = started_parent(house, tmp_path)
    began = time.monotonic()
    parent.send_signal(number)

    assert parent.wait(60) in (exit_code, -number)
    assert time.monotonic() - began < SOON_SECONDS
    assert shards_running(tmp_path) == []
    assert len(on_disk(house)) == 6


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can tie a child to its parent")
def test_shards_die_with_a_run_that_is_killed(house, journal, tmp_path):
    parent = started_parent(house, tmp_path)
    assert len(shards_running(tmp_path)) == 2

    parent.kill()
    parent.wait()

    limit = time.monotonic() + SOON_SECONDS
    while shards_running(tmp_path) and time.monotonic() < limit:
        time.sleep(0.02)
    assert shards_running(tmp_path) == []


@pytest.mark.parametrize(
    ("chosen", "count"), [("0,1,2", 3), ("1", 1), ("GPU-8f3a, GPU-77b0", 2), ("", 0), ("-1", 0), ("0,-1,1", 1)]
)
def test_visible_gpus_are_counted_as_cuda_does(tmp_path, chosen, count):
    assert len(visible_gpus({"CUDA_VISIBLE_DEVICES": chosen}, tmp_path)) == count


def test_all_gpus_are_visible_where_nobody_has_chosen(tmp_path):
    (tmp_path / "0000:17:00.0").mkdir()
    (tmp_path / "0000:65:00.0").mkdir()

    assert len(visible_gpus({}, tmp_path)) == 2


def test_the_management_tool_counts_where_the_driver_shows_no_folder(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)'\necho '  MIG 1g.5gb'\necho 'GPU 1: B (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert len(visible_gpus({}, tmp_path / "nothing")) == 2


@pytest.mark.parametrize(
    ("backend", "count"),
    [
        ({"kind": "transformers", "path": "m"}, 2),
        ({"kind": "transformers", "path": "m", "device": "cpu"}, 0),
        ({"kind": "transformers", "path": "m", "device": "cuda:1"}, 0),
        ({"kind": "transformers", "path": "m", "device_map": "auto"}, 0),
        ({"kind": "scripted"}, 0),
    ],
)
def test_only_a_model_that_takes_any_free_gpu_runs_on_several(backend, count):
    model = ModelSpec.model_validate({**MODEL, "backend": backend})

    assert usable_gpus(model, {"CUDA_VISIBLE_DEVICES": "0,1"}) == count
