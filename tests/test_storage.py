from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from llm_eval import storage
from llm_eval.errors import StorageError


def test_a_file_is_read_back_as_it_was_written(tmp_path):
    uri = str(tmp_path / "deep" / "er" / "x.bin")

    storage.write_bytes(uri, b"\x00\xff")

    assert storage.read_bytes(uri) == b"\x00\xff"


def test_an_object_store_holds_the_same_files():
    storage.write_json("memory://bucket/a/x.json", {"k": 1})

    assert storage.read_json("memory://bucket/a/x.json") == {"k": 1}
    assert storage.files("memory://bucket/a", ".json") == ["memory://bucket/a/x.json"]


def test_a_failed_flush_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    uri = str(tmp_path / "x")
    storage.write_bytes(uri, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.write_bytes(uri, b"new")

    assert Path(uri).read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.fixture
def small_disk(tmp_path):
    """A real filesystem of one megabyte."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small filesystem can only be mounted by root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_fills_is_named_and_loses_nothing(small_disk):
    uri = str(small_disk / "x")
    storage.write_bytes(uri, b"old")

    with pytest.raises(StorageError, match=r"No space left on device.*--root or LLM_EVAL_ROOT"):
        storage.write_bytes(uri, b"n" * 2_000_000)

    assert storage.read_bytes(uri) == b"old"
    assert os.listdir(small_disk) == ["x"]


def test_a_root_below_a_file_is_refused_with_the_address(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"file/x"):
        storage.write_bytes(str(tmp_path / "file" / "x"), b"")


def test_temporary_files_of_other_writers_are_not_listed(tmp_path):
    (tmp_path / ".x.123.tmp").write_text("")
    (tmp_path / "x").write_text("")

    assert storage.files(str(tmp_path)) == [str(tmp_path / "x")]


def test_a_folder_that_is_not_there_has_no_files(tmp_path):
    assert storage.files(str(tmp_path / "nowhere")) == []


def test_cut_json_names_the_file(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ')

    with pytest.raises(StorageError, match=r"x\.json: not valid JSON"):
        storage.read_json(str(tmp_path / "x.json"))


def test_an_unknown_protocol_is_named():
    with pytest.raises(StorageError, match="nonsense://"):
        storage.exists("nonsense://x/y")
