"""Parts on disk: in time, whole, and whatever interrupts their writing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from llm_eval import storage, tables
from llm_eval.errors import StorageError
from llm_eval.layout import WHOLE
from llm_eval.records import Response
from llm_eval.stages import parts as stage_parts
from llm_eval.stages.parts import PART_ROWS, PartWriter
from tests.builders import response


def on_disk(folder: Path) -> list[str]:
    return [r.request_id for part in sorted(folder.glob("part-*.parquet")) for r in tables.read(str(part), Response)]


def wait_for(count: int, folder: Path) -> None:
    limit = time.monotonic() + 10
    while len(on_disk(folder)) < count and time.monotonic() < limit:
        time.sleep(0.01)


def test_what_is_answered_is_written_while_the_next_answer_is_long_in_coming(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_parts, "PART_SECONDS", 0.02)

    with PartWriter(str(tmp_path), WHOLE) as parts:
        parts.add(response("a"))
        wait_for(1, tmp_path)
        assert on_disk(tmp_path) == ["a"]
        parts.add(response("b"))
        wait_for(2, tmp_path)
        assert on_disk(tmp_path) == ["a", "b"]


def test_many_responses_are_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_parts, "PART_SECONDS", 1000)

    with PartWriter(str(tmp_path), WHOLE) as parts:
        for i in range(PART_ROWS + 1):
            parts.add(response(str(i)))

        assert len(on_disk(tmp_path)) == PART_ROWS

    assert len(on_disk(tmp_path)) == PART_ROWS + 1


def test_writers_in_several_threads_lose_and_repeat_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_parts, "PART_SECONDS", 0.001)

    with PartWriter(str(tmp_path), WHOLE) as parts:
        savers = [threading.Thread(target=lambda: [parts.flush() for _ in range(50)]) for _ in range(3)]
        for saver in savers:
            saver.start()
        for i in range(1000):
            parts.add(response(str(i)))
        for saver in savers:
            saver.join()

    assert on_disk(tmp_path) == [str(i) for i in range(1000)]


def test_storage_that_is_away_for_a_while_loses_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(stage_parts, "PART_SECONDS", 0.02)
    root, away = tmp_path / "root", tmp_path / "away"

    with PartWriter(str(root / "responses"), WHOLE) as parts:
        root.rename(away)
        parts.add(response("a"))
        limit = time.monotonic() + 10
        while not caplog.messages and time.monotonic() < limit:
            time.sleep(0.01)
        assert not root.exists()  # made anew, it would hide what was written here
        away.rename(root)

    assert "Trying again in 0.02 s" in caplog.messages[0]
    assert on_disk(root / "responses") == ["a"]


def test_storage_that_stays_away_fails_the_shard(tmp_path):
    root = tmp_path / "root"

    parts = PartWriter(str(root / "responses"), WHOLE)
    parts.__enter__()
    root.rename(tmp_path / "away")
    parts.add(response("a"))

    with pytest.raises(StorageError, match="cannot write"):
        parts.__exit__(None, None, None)


def test_an_interrupted_part_is_written_again_under_its_own_name(tmp_path, monkeypatch):
    write = storage.write_bytes

    def interrupted(uri: str, data: bytes, *, into_existing: bool) -> None:
        write(uri, data, into_existing=into_existing)
        raise KeyboardInterrupt

    parts = PartWriter(str(tmp_path), WHOLE)
    parts.add(response("a"))
    with monkeypatch.context() as patched:
        patched.setattr(storage, "write_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            parts.flush()
    parts.add(response("b"))
    parts.flush()

    assert on_disk(tmp_path) == ["a", "b"]


def test_a_sealed_writer_lets_nothing_more_be_asked(tmp_path):
    parts = PartWriter(str(tmp_path), WHOLE)
    parts.add(response("a"))
    parts.seal()
    asked = []

    def answers():
        for name in ("b", "c"):
            asked.append(name)
            parts.add(response(name))

    threading.Thread(target=answers, daemon=True).start()
    limit = time.monotonic() + 10
    while not asked and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(0.1)  # for what must not happen

    assert (on_disk(tmp_path), asked) == (["a"], ["b"])
