"""The promises of `storage`, on a real S3 server: whole files, seen at once by everybody, created by one alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_eval import storage, tables
from llm_eval.errors import NotThere, StorageError, UnusableRoot
from llm_eval.records import Response
from tests.builders import response
from tests.conftest import CHECKOUT
from tests.object_stores.conftest import Store


def elsewhere(code: str, *arguments: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-c", f"import sys\nfrom llm_eval import storage\n{code}", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=120).stdout


def test_a_file_is_read_back_as_it_was_written(store: Store):
    storage.write_bytes(f"{store.root}/deep/er/x.bin", b"\x00\xff")

    assert storage.read_bytes(f"{store.root}/deep/er/x.bin") == b"\x00\xff"
    assert storage.exists(f"{store.root}/deep/er/x.bin")
    assert store.wire.kinds() == {"PUT": 1, "GET": 2}


def test_a_root_may_be_a_bucket_itself(store: Store):
    storage.write_json(f"s3://{store.bucket}/x.json", 1)

    assert storage.files(f"s3://{store.bucket}") == [f"s3://{store.bucket}/x.json"]
    assert storage.tree(f"s3://{store.bucket}/") == [f"s3://{store.bucket}/x.json"]


def test_what_is_not_there_is_told_with_one_request(store: Store):
    with pytest.raises(NotThere, match=r"evals/x\.json: there is no such file"):
        storage.read_json(f"{store.root}/x.json")

    assert not storage.exists(f"{store.root}/x.json")
    storage.delete(f"{store.root}/x.json")
    assert store.wire.kinds() == {"GET": 2, "DELETE": 1}


def test_a_folder_that_is_not_there_has_no_files(store: Store):
    assert storage.files(f"{store.root}/nowhere") == []
    assert storage.tree(f"{store.root}/nowhere") == []


def test_another_process_sees_at_once_what_is_written_changed_and_deleted(store: Store):
    folder = f"{store.root}/runs"
    storage.write_json(f"{folder}/a.json", 1)
    before = storage.files(folder), storage.exists(f"{folder}/b.json")

    elsewhere("for n in 'ab': storage.write_json(f'{sys.argv[1]}/{n}.json', 22)", folder)
    during = storage.files(folder), storage.exists(f"{folder}/b.json"), storage.read_json(f"{folder}/a.json")
    elsewhere("storage.delete(sys.argv[1] + '/b.json')", folder)
    after = storage.files(folder), storage.exists(f"{folder}/b.json")

    assert before == ([f"{folder}/a.json"], False)
    assert during == ([f"{folder}/a.json", f"{folder}/b.json"], True, 22)
    assert after == before


@pytest.mark.slow
@pytest.mark.timeout(900)  # a thousand puts, on a machine that may have other work
def test_a_listing_goes_on_after_the_first_thousand(store: Store):
    names = [f"part-{n:04d}.json" for n in range(1005)]
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda name: store.put(f"many/{name}", "1"), names))

    assert storage.files(f"{store.root}/many", ".json") == [f"{store.root}/many/{name}" for name in names]
    assert storage.tree(store.root) == [f"{store.root}/many/{name}" for name in names]
    assert store.wire.kinds() == {"LIST": 4}
    some = storage.files(f"{store.root}/many")[:250]  # more than are read at once
    assert list(storage.read_each(some)) == [(uri, b"1") for uri in some]


def test_a_folder_that_a_console_made_holds_nothing_itself(store: Store):
    store.put("runs/", "")
    storage.write_json(f"{store.root}/runs/x.json", 1)

    assert storage.files(f"{store.root}/runs") == [f"{store.root}/runs/x.json"]


def test_the_state_of_a_file_is_another_one_when_it_was_written_again(store: Store):
    storage.write_json(f"{store.root}/a.json", 1)
    storage.write_json(f"{store.root}/b.json", 1)
    before = storage.states(store.root)

    storage.write_json(f"{store.root}/a.json", 2)
    after = storage.states(store.root)

    assert [before[uri] == after[uri] for uri in before] == [False, True]


def test_readers_of_a_file_that_is_written_again_and_again_never_see_half_of_it(store: Store):
    uri, written = f"{store.root}/x.parquet", [[response(text="x" * (n * 50_000 + 1))] for n in range(12)]
    tables.write(uri, Response, written[0])
    stop = threading.Event()

    def read() -> list[list[Response]]:
        seen = []
        while not stop.is_set():
            seen.append(tables.read(uri, Response))
        return seen

    with ThreadPoolExecutor(2) as readers:
        reading = [readers.submit(read) for _ in range(2)]
        try:
            for rows in written:
                tables.write(uri, Response, rows)
        finally:
            stop.set()

    seen = [rows for future in reading for rows in future.result()]
    assert seen
    assert all(rows in written for rows in seen)


def test_of_many_that_create_one_file_one_is_told_so_and_its_content_stays(store: Store):
    uri = f"{store.root}/times/20260101T000000Z.json"
    with ThreadPoolExecutor(8) as writers:
        told = list(writers.map(lambda n: storage.create_json(uri, {"writer": n}), range(8)))

    assert told.count(True) == 1
    assert storage.read_json(uri) == {"writer": told.index(True)}
    assert {asked.condition for asked in store.wire.asked if asked.kind == "PUT"} == {"*"}


def test_of_several_processes_that_create_the_same_files_each_file_has_one_creator(store: Store):
    code = "print([storage.create_json(f'{sys.argv[1]}/{n}.json', int(sys.argv[2])) for n in range(6)])"
    with ThreadPoolExecutor(3) as writers:
        told = [
            json.loads(said.lower())
            for said in writers.map(lambda n: elsewhere(code, f"{store.root}/new", str(n)), range(3))
        ]

    assert [sum(of_file) for of_file in zip(*told, strict=True)] == [1] * 6
    assert [storage.read_json(f"{store.root}/new/{n}.json") for n in range(6)] == [
        of_file.index(True) for of_file in zip(*told, strict=True)
    ]


def test_who_created_a_file_is_told_so_although_the_answer_got_lost(store: Store):
    storage.create_json(f"{store.root}/first.json", 1)  # after it the store is known to keep to conditions
    store.wire.fail("lose_answer", fits=lambda asked: asked.kind == "PUT")

    assert storage.create_json(f"{store.root}/x.json", {"k": 1})
    assert not storage.create_json(f"{store.root}/x.json", {"k": 1})


def test_creators_that_hinder_one_another_try_again(store: Store):
    conflict = {"status": 409, "code": "ConditionalRequestConflict", "message": "A conflicting operation is under way"}
    store.wire.fail("refuse", 3, lambda asked: asked.kind == "PUT", **conflict)

    assert storage.create_json(f"{store.root}/x.json", 1)
    assert storage.read_json(f"{store.root}/x.json") == 1


def test_a_store_that_overwrites_what_was_created_is_refused(store: Store):
    store.wire.forgets_conditions = True

    with pytest.raises(UnusableRoot, match=r"overwrites in spite of 'If-None-Match: \*'"):
        storage.create_json(f"{store.root}/x.json", 1)


@pytest.fixture
def big() -> bytes:
    """More than goes in one put: three parts."""
    return bytes(range(256)) * (110 * 2**20 // 256)


@pytest.mark.slow
def test_a_file_of_several_parts_is_whole(store: Store, big: bytes):
    storage.write_bytes(f"{store.root}/big.bin", big)

    assert [asked.query.split("=")[0] for asked in store.wire.asked if asked.kind == "PUT"] == ["partNumber"] * 3
    assert storage.read_bytes(f"{store.root}/big.bin") == big


@pytest.mark.slow
def test_an_upload_of_several_parts_that_fails_leaves_the_old_file_and_nothing_behind(store: Store, big: bytes):
    uri = f"{store.root}/big.bin"
    storage.write_bytes(uri, b"old")
    store.wire.fail("refuse", 100, lambda asked: "partNumber=2" in asked.query, status=403, code="AccessDenied")

    with pytest.raises(StorageError, match=r"cannot write .*big\.bin"):
        storage.write_bytes(uri, big)

    assert storage.read_bytes(uri) == b"old"
    assert storage.files(store.root) == [uri]
    assert [asked.kind for asked in store.wire.asked if "uploadId" in asked.query][-1] == "DELETE"


def test_a_store_that_refuses_without_naming_the_condition_is_understood(store: Store):
    storage.create_json(f"{store.root}/first.json", 1)
    refusal = {"status": 412, "code": "PreconditionFailed", "message": "PreconditionFailed"}
    store.wire.fail("refuse", 1, lambda asked: asked.condition == "*", **refusal)
    store.put("x.json", "1")

    assert not storage.create_json(f"{store.root}/x.json", 2)
