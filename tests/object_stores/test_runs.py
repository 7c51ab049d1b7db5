"""Whole evaluations with the root on S3: the same numbers as on a disk, whoever dies or writes beside them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from llm_eval import results, storage
from llm_eval.checkpoints.registry import Registry
from llm_eval.comparison import compare, measured
from llm_eval.layout import WHOLE, Layout, Shard
from llm_eval.specs import Checkpoint
from llm_eval.stages import STAGES, run_stage
from llm_eval.stages import parts as stage_parts
from llm_eval.stages.parts import PART_ROWS
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish, parse_params, plan
from llm_eval.stages.report import report
from tests.builders import NOON, House, rows
from tests.conftest import CHECKOUT
from tests.object_stores.conftest import SECRET, Store
from tests.object_stores.wire import Asked

ITS_OWN = {"run_id", "evaluated_at", "infer_seconds", "peak_memory_gib", "peak_gpu_memory_gib"}
REPLIES = ["(A)", "The answer is B.", "no idea"]


@pytest.fixture
def far(house: House, store: Store) -> House:
    house.model(backend={"kind": "scripted", "replies": REPLIES})
    return store.house(house)


def published(house: House, run_id: str) -> tuple[list[dict[str, object]], list[tuple[object, ...]]]:
    """All that does not change from run to run."""
    root = house.settings.root
    found = [asdict(row) for row in results.summary(root) if row.run_id == run_id]
    samples = results.samples(root, run_id, "canned", "colours")
    return (
        sorted(({k: v for k, v in row.items() if k not in ITS_OWN} for row in found), key=str),
        sorted((s.sample_id, s.metric, s.value, s.answer, s.response) for s in samples),
    )


def near(folder: Path, count: int = 12) -> House:
    """The same house, its root on a disk."""
    house = House(folder)
    house.model(backend={"kind": "scripted", "replies": REPLIES})
    house.jsonl("colours.jsonl", rows(count))
    return house


def test_a_run_publishes_on_s3_what_it_publishes_on_a_disk(far: House, tmp_path: Path):
    disk = near(tmp_path / "disk")

    on_s3, on_disk = (run_all(each.catalog, each.settings, Wish("canned", "colours")) for each in (far, disk))

    assert published(far, on_s3.run_id) == published(disk, on_disk.run_id)


def command(house: House, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """The real command line, as a process of its own."""
    place = {"LLM_EVAL_CATALOG": str(house.catalog_folder), "LLM_EVAL_DATASETS": str(house.data), **environment}
    line = [sys.executable, "-m", "llm_eval", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, cwd=CHECKOUT, env={**os.environ, **place}, stdout=pipe, stderr=pipe, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert SECRET not in out + err
    return out


@pytest.mark.slow
def test_the_command_line_plans_runs_shards_and_reports_on_s3(far: House, store: Store, tmp_path: Path):
    far.suite()
    far.jsonl("colours.jsonl", rows(30))
    root = ("--root", store.root, "-q")

    address = said(command(far, *root, "plan", "-m", "canned", "-d", "colours", "--shards", "3")).strip()
    for stage in ("fetch", "validate", "render"):
        said(command(far, stage, address))
    shards = [command(far, "infer", address, "--shard", f"{index}/3") for index in range(3)]
    for shard in shards:
        said(shard)
    for stage in ("score", "publish"):
        said(command(far, stage, address))

    assert "canned" in said(command(far, *root, "report", "--suite", "nightly"))
    disk = near(tmp_path / "disk", 30)
    on_disk = run_all(disk.catalog, disk.settings, Wish("canned", "colours"))
    mine, theirs = published(far, address.rpartition("/")[2]), published(disk, on_disk.run_id)
    assert mine[1] == theirs[1]
    assert [row["value"] for row in mine[0]] == [row["value"] for row in theirs[0]]
    for uri in storage.tree(store.root):
        assert SECRET.encode() not in storage.read_bytes(uri), uri


@pytest.mark.slow
def test_two_runs_of_one_pair_at_once_both_publish(far: House, store: Store, tmp_path: Path):
    both = [command(far, "--root", store.root, "-q", "run", "-m", "canned", "-d", "colours") for _ in range(2)]
    for each in both:
        said(each)

    runs = {row.run_id for row in results.summary(store.root)}
    disk = near(tmp_path / "disk")
    on_disk = run_all(disk.catalog, disk.settings, Wish("canned", "colours"))
    assert len(runs) == 2
    assert [published(far, run_id)[1] for run_id in runs] == [published(disk, on_disk.run_id)[1]] * 2


def is_part(asked: Asked) -> bool:
    return asked.kind == "PUT" and "/part-" in asked.key


@pytest.mark.slow
def test_a_shard_killed_while_it_sends_a_part_asks_again_only_what_had_not_arrived(
    far: House, store: Store, tmp_path: Path
):
    journal, count = tmp_path / "journal", 3 * PART_ROWS + 7
    far.model(backend={"kind": "scripted", "replies": REPLIES, "journal": str(journal)})
    far.jsonl("colours.jsonl", rows(count))
    run = plan(far.catalog, far.settings, Wish("canned", "colours", run_id="killed"), NOON)
    address = Layout(store.root, run).run_uri
    for stage in ("fetch", "validate", "render"):
        run_stage(stage, address, far.settings)

    sent = []
    for earlier in (0, 1, 1):  # parts that arrive before the one that stays half sent
        stalled = store.wire.stall(is_part, after=earlier)
        shard = command(far, "infer", address)
        assert stalled.wait(120)
        shard.kill()
        assert shard.wait() == -signal.SIGKILL
        sent.append(len(storage.files(Layout(store.root, run).responses)))
    for stage in ("infer", "score", "publish"):
        run_stage(stage, address, far.settings)

    assert sent == [0, 1, 2]  # whole ones alone, and no manifest
    asked = Counter(journal.read_text().split())
    assert sum(asked.values()) - len(asked) <= 3 * PART_ROWS
    calm = near(tmp_path / "calm", count)
    undisturbed = run_all(calm.catalog, calm.settings, Wish("canned", "colours"))
    assert published(far, "killed")[1] == published(calm, undisturbed.run_id)[1]


@pytest.mark.parametrize("stage", ["fetch", "score", "publish"])
def test_a_stage_whose_last_put_never_arrived_is_run_again(far: House, store: Store, tmp_path: Path, stage: str):
    run = plan(far.catalog, far.settings, Wish("canned", "colours", run_id="cut"), NOON)
    address = Layout(store.root, run).run_uri
    for earlier in STAGES[: STAGES.index(stage)]:
        run_stage(earlier, address, far.settings)
    is_manifest = {"publish": "published.json"}.get(stage, "manifest.json")
    stalled = store.wire.stall(lambda asked: asked.kind == "PUT" and asked.key.endswith(is_manifest), after=0)

    killed = command(far, stage, address)
    assert stalled.wait(240)
    killed.kill()
    killed.wait()
    reports = [run_stage(each, address, far.settings) for each in STAGES[STAGES.index(stage) :]]

    assert not reports[0].skipped
    disk = near(tmp_path / "disk")
    undisturbed = run_all(disk.catalog, disk.settings, Wish("canned", "colours"))
    assert published(far, "cut") == published(disk, undisturbed.run_id)


def test_runs_on_s3_are_compared_and_make_a_leaderboard(far: House, store: Store):
    far.suite()
    first = run_all(far.catalog, far.settings, Wish("canned", "colours", run_id="first"))
    far.model(backend={"kind": "scripted", "replies": ["A"]})
    second = run_all(far.catalog, far.settings, Wish("canned", "colours", run_id="second"))

    found = compare(*(measured(store.root, results.run(store.root, each.run_id)[0]) for each in (first, second)))
    report(far.settings, far.catalog.suite("nightly"))

    assert found.counts.paired == 12
    assert storage.exists(f"{store.root}/leaderboards/nightly/leaderboard.html")
    assert [row.run_id for row in results.current(results.summary(store.root))] == ["second"]


def test_checkpoints_registered_at_once_get_a_time_each(store: Store):
    code = """
import sys
from llm_eval.checkpoints.registry import Registry
from llm_eval.specs import Checkpoint
for n in range(3):
    name = f"{sys.argv[2]}-{n}"
    Registry.of(sys.argv[1], "trained").add(
        Checkpoint(name=name, path=name, created_at="2026-01-01T00:00:00+00:00"), may_move=True)
"""
    line = [sys.executable, "-c", code, store.root]
    writers = [subprocess.Popen([*line, name], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) for name in "abc"]
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err

    entries = Registry.of(store.root, "trained").entries()
    assert sorted(entry.name for entry in entries) == [f"{name}-{n}" for name in "abc" for n in range(3)]
    assert len({entry.created_at for entry in entries}) == 9


def test_a_name_is_registered_once_whoever_asks(store: Store):
    registry = Registry.of(store.root, "trained")
    checkpoint = Checkpoint(name="a", path="a", created_at="2026-01-01T00:00:00+00:00")

    added = [registry.add(checkpoint, may_move=False).is_new for _ in range(2)]
    registry.forget("a")

    assert added == [True, False]
    assert registry.entries() == []


def test_a_checkpoint_is_read_once_by_a_process_that_asks_again_and_again(store: Store):
    registry = Registry.of(store.root, "trained")
    for name in ("a", "b"):
        registry.add(Checkpoint(name=name, path=name, created_at="2026-01-01T00:00:00+00:00"), may_move=True)
    registry.entries()
    store.wire.taken()

    entries = [registry.entries() for _ in range(3)]
    assert [entry.name for entry in entries[0]] == ["a", "b"]
    assert store.wire.taken() == {"LIST": 3}

    registry.forget("a")
    registry.add(Checkpoint(name="c", path="c", created_at="2026-01-01T00:00:00+00:00"), may_move=False)
    store.wire.taken()
    entries = [registry.entries() for _ in range(2)]
    assert [entry.name for entry in entries[1]] == ["c", "b"]
    assert store.wire.taken() == {"GET": 1, "LIST": 2}  # the new one, which has the time of the one that is gone


ASKED = {
    "plan": {"GET": 1, "PUT": 1},
    "fetch": {"GET": 3, "PUT": 3},
    "validate": {"GET": 4, "PUT": 3},
    "render": {"GET": 5, "PUT": 2},
    "infer 0/3": {"GET": 5, "LIST": 2, "PUT": 2},
    "infer 1/3": {"GET": 5, "LIST": 1, "PUT": 2},
    "infer 2/3": {"GET": 5, "LIST": 1, "PUT": 2},
    "score": {"GET": 8, "LIST": 1, "PUT": 2},
    "publish": {"GET": 13, "LIST": 1, "PUT": 3},
}


def test_how_often_each_stage_asks_the_store(far: House, store: Store, monkeypatch: pytest.MonkeyPatch):
    """docs/object-stores.md quotes this. A shard does not read what its siblings have answered."""
    monkeypatch.setattr(stage_parts, "PART_SECONDS", 1000)
    params = parse_params({"shards": 3}, "test")
    run = plan(far.catalog, far.settings, Wish("canned", "colours", params), NOON)
    address, asked = Layout(store.root, run).run_uri, {"plan": store.wire.taken()}
    for stage in STAGES:
        for shard in (Shard(index, 3) for index in range(3)) if stage == "infer" else (WHOLE,):
            run_stage(stage, address, far.settings, shard=shard)
            asked[f"{stage} {shard}" if stage == "infer" else stage] = store.wire.taken()

    assert asked == ASKED
