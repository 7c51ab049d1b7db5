"""SIGTERM and Ctrl-C in real processes: what was answered is on disk, and the process is gone in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from llm_eval import tables
from llm_eval.layout import Layout
from llm_eval.records import Response
from llm_eval.signals import GRACE_SECONDS
from llm_eval.stages import run_stage
from llm_eval.stages.plan import Wish, plan
from tests.backends.tiny_models import save_llama
from tests.builders import NOON, House, rows
from tests.conftest import CHECKOUT, SOON_SECONDS

# The command line with a backend that is busy in native code for minutes, where Python runs no handler.
BUSY = """
import hashlib, sys
from llm_eval.backends.scripted import Scripted
def native(*_):
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
def answer(self, requests, generation):
    for request in requests[:20]:
        yield self._reply(request, 0)
    native()
"""
WHERE = {
    "while it loads": "Scripted.open = classmethod(native)\n",
    "while it answers": "Scripted.answer = answer\n",
}
# A library that swallows whatever a handler raises, such as a callback called from native code.
DEAF = """
import sys, time
from llm_eval.backends.scripted import Scripted
def answer(self, requests, generation):
    for request in requests[:20]:
        yield self._reply(request, 0)
    print("busy", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
Scripted.answer = answer
"""
# The signal comes in the middle of a part's writing.
INTERRUPTED_WRITE = """
import os, signal, sys
from llm_eval.stages import parts
parts.PART_SECONDS = 1000  # one part, however slow the machine
rename, left = os.replace, 1
def interrupted(source, target):
    global left
    if left:
        left = 0
        os.kill(os.getpid(), signal.SIGTERM)
    rename(source, target)
os.replace = interrupted
print("busy", flush=True)
"""
# Says when it begins to load; then the real thing loads.
LOADING = """
import sys
from llm_eval.backends.transformers import TransformersModel
load = TransformersModel.open.__func__
def announced(*place):
    print("busy", flush=True)
    return load(*place)
TransformersModel.open = classmethod(announced)
"""
MAIN = 'sys.argv[0] = "llm-eval"\nfrom llm_eval.cli import main\nmain()\n'


class Shard:
    """`llm-eval infer` as a process of its own, code of the test run before it."""

    def __init__(self, house: House, address: str, code: str) -> None:
        command = [sys.executable, "-c", code + MAIN, "-q", "infer", address]
        environment = {**os.environ, "LLM_EVAL_MODELS": str(house.settings.models[0])}
        self.process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE)

    def ended_by(self, number: signal.Signals) -> tuple[int, float]:
        """Exit code, and seconds from the signal on."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(60), time.monotonic() - began

    def wait_until_busy(self) -> None:
        self._wait_until_it_says_so()
        time.sleep(1.0)  # between the line and what it announces

    def wait_until_in_native_code(self) -> None:
        self._wait_until_it_says_so()
        process = psutil.Process(self.process.pid)
        before = process.cpu_times().user
        while process.cpu_times().user < before + 0.3:  # far more than what comes before it
            time.sleep(0.05)

    def _wait_until_it_says_so(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"busy\n"


def ready_to_infer(house: House) -> str:
    run = plan(house.catalog, house.settings, Wish("canned", "colours"), NOON)
    address = Layout(house.settings.root, run).run_uri
    for stage in ("fetch", "validate", "render"):
        run_stage(stage, address, house.settings)
    return address


def on_disk(house: House) -> list[Response]:
    return tables.read_all([str(p) for p in Path(house.settings.root).glob("responses/*/*/part-*.parquet")], Response)


@pytest.fixture
def journal(house, tmp_path):
    path = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(path)})
    house.jsonl("colours.jsonl", rows(40))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("where", WHERE)
def test_native_code_keeps_nobody_waiting(house, journal, where, number, exit_code):
    address = ready_to_infer(house)
    shard = Shard(house, address, BUSY + WHERE[where])
    shard.wait_until_in_native_code()

    code, seconds = shard.ended_by(number)

    assert code == exit_code
    grace = GRACE_SECONDS if number == signal.SIGINT else 0.0  # the main thread hears of Ctrl-C alone
    assert grace <= seconds < SOON_SECONDS
    assert len(on_disk(house)) == (20 if where == "while it answers" else 0)


@pytest.mark.slow
def test_a_library_that_swallows_the_signal_keeps_nobody_waiting(house, journal):
    address = ready_to_infer(house)
    shard = Shard(house, address, DEAF)
    shard.wait_until_busy()

    code, seconds = shard.ended_by(signal.SIGTERM)

    assert (code, seconds < SOON_SECONDS) == (143, True)
    assert len(on_disk(house)) == 20


@pytest.mark.slow
def test_a_part_interrupted_by_a_signal_is_on_disk_and_whole(house, journal):
    address = ready_to_infer(house)

    code = Shard(house, address, INTERRUPTED_WRITE).process.wait(60)

    assert code == 143
    assert len(on_disk(house)) == 40
    assert list(Path(house.settings.root).rglob("*.tmp")) == []
    run_stage("infer", address, house.settings)
    assert set(Counter(journal.read_text().split()).values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 2.0, 6.0])
def test_a_real_model_is_gone_at_once_whether_it_loads_or_answers(house, seconds):
    save_llama(house.folder / "models" / "tiny", adds_bos=False)
    house.model(backend={"kind": "transformers", "path": "tiny", "device": "cpu"})
    house.dataset(generation={"max_tokens": 150})
    house.jsonl("colours.jsonl", rows(2000))
    address = ready_to_infer(house)
    shard = Shard(house, address, LOADING)
    shard.wait_until_busy()
    time.sleep(seconds)

    code, took = shard.ended_by(signal.SIGTERM)

    assert code == 143
    assert took < SOON_SECONDS
    ids = [r.request_id for r in on_disk(house)]
    assert len(ids) == len(set(ids)) < 2000
