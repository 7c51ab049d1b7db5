"""What goes wrong between us and a store: short faults are sat out, long ones end in one line that says what to do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time

import pytest

from llm_eval import storage
from llm_eval.errors import StorageError, UnusableRoot
from tests.conftest import CHECKOUT
from tests.object_stores.conftest import KEY, SECRET, Store, forget_clients
from tests.object_stores.wire import Asked, Failure


def is_put(asked: Asked) -> bool:
    return asked.kind == "PUT"


def is_get(asked: Asked) -> bool:
    return asked.kind == "GET"


BUSY = {"status": 503, "code": "SlowDown", "message": "Please reduce your request rate."}
BROKEN = {"status": 500, "code": "InternalError", "message": "We encountered an internal error. Please try again."}


@pytest.mark.parametrize("answer", [BUSY, BROKEN], ids=["503", "500"])
def test_a_server_that_refuses_twice_is_asked_again(store: Store, answer: dict[str, object]):
    store.wire.fail("refuse", 2, is_put, **answer)
    store.wire.fail("refuse", 2, is_get, **answer)
    store.wire.fail("refuse", 2, lambda asked: asked.kind == "LIST", **answer)

    storage.write_bytes(f"{store.root}/x", b"whole")

    assert storage.read_bytes(f"{store.root}/x") == b"whole"
    assert storage.files(store.root) == [f"{store.root}/x"]
    assert store.wire.kinds() == {"PUT": 3, "GET": 3, "LIST": 3}


@pytest.mark.parametrize("how", ["cut_question", "lose_answer"])
def test_a_put_that_is_cut_is_done_again_whole(store: Store, how: Failure):
    storage.write_bytes(f"{store.root}/x", b"old")
    store.wire.fail(how, 1, is_put)

    storage.write_bytes(f"{store.root}/x", b"new" * 100_000)

    assert storage.read_bytes(f"{store.root}/x") == b"new" * 100_000


def test_an_answer_that_is_cut_in_its_middle_is_asked_for_again(store: Store):
    storage.write_bytes(f"{store.root}/x", b"whole" * 100_000)
    store.wire.fail("cut_answer", 1, is_get)

    assert storage.read_bytes(f"{store.root}/x") == b"whole" * 100_000


def test_of_many_files_read_at_once_the_one_that_was_cut_is_asked_for_again(store: Store):
    for n in range(20):
        store.put(str(n), f"text {n}")
    store.wire.fail("cut_answer", 1, lambda asked: asked.key.endswith("/7"))

    found = list(storage.read_each([f"{store.root}/{n}" for n in range(20)]))

    assert found == [(f"{store.root}/{n}", f"text {n}".encode()) for n in range(20)]
    assert len(store.wire.asked) == 21


@pytest.mark.parametrize("answer", [BUSY, BROKEN], ids=["503", "500"])
def test_a_server_that_goes_on_refusing_is_given_up_after_a_bounded_number_of_requests(
    store: Store, answer: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    store.wire.fail("refuse", 1000, **answer)

    with pytest.raises(StorageError, match=rf"cannot read {store.root}/x: .* \({answer['code']}\)\. .*run again when"):
        storage.read_bytes(f"{store.root}/x")

    assert len(store.wire.asked) <= 8


def test_a_file_of_many_that_cannot_be_read_is_named(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for n in range(3):
        storage.write_json(f"{store.root}/{n}.json", n)
    store.wire.fail("refuse", 1000, lambda asked: asked.key.endswith("/1.json"), **BROKEN)

    with pytest.raises(StorageError, match=r"cannot read .*/1\.json: .*InternalError"):
        list(storage.read_each(storage.files(store.root)))


def test_a_server_that_is_not_there_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    forget_clients()
    began = time.monotonic()

    with pytest.raises(StorageError, match=r"Could not connect to the endpoint URL.*AWS_ENDPOINT_URL the server"):
        storage.write_bytes(f"{store.root}/x", b"")

    assert time.monotonic() - began < 30


MISTAKES = {
    "InvalidAccessKeyId": (403, "mend AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": (403, "mend AWS_SECRET_ACCESS_KEY"),
    "AccessDenied": (403, "allowed to list the bucket"),
    "AuthorizationHeaderMalformed": (400, "set AWS_DEFAULT_REGION"),
}


@pytest.mark.parametrize("code", MISTAKES)
@pytest.mark.parametrize("action", [storage.read_bytes, storage.exists, storage.files, lambda uri: storage.delete(uri)])
def test_what_no_retry_can_mend_is_said_at_once(store: Store, code: str, action):
    status, mend = MISTAKES[code]
    store.wire.fail("refuse", 1000, status=status, code=code, message="No.")

    with pytest.raises(UnusableRoot, match=mend) as raised:
        action(f"{store.root}/x")

    assert raised.value.exit_code == 2
    assert raised.value.final
    assert len(store.wire.asked) == 1


@pytest.mark.parametrize(
    "action",
    [storage.read_bytes, storage.exists, storage.files, storage.tree, lambda uri: storage.write_bytes(uri, b"x")],
)
def test_a_bucket_that_is_not_there_is_no_empty_root(store: Store, action):
    with pytest.raises(UnusableRoot, match=r"There is no such bucket: make it, or mend the root"):
        action("s3://no-such-bucket-here/evals/x")


def test_without_keys_none_are_made_up(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    forget_clients()

    with pytest.raises(StorageError, match=r"Unable to locate credentials.*AWS_ACCESS_KEY_ID"):
        storage.read_bytes(f"{store.root}/x")

    assert store.wire.asked == []


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "llm_eval", *arguments]
    return subprocess.run(line, env={**os.environ, **environment}, cwd=CHECKOUT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("root", "environment", "exit_code", "said"),
    [
        ("s3://no-such-bucket-here/evals", {}, 2, "There is no such bucket"),
        ("s3://no/such_Bucket!", {}, 2, "mend the root"),
        ("{root}", {"AWS_PROFILE": "nobody"}, 2, "Mend AWS_PROFILE"),
        ("{root}", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}, 75, "AWS_ENDPOINT_URL"),
    ],
    ids=["no bucket", "no name", "no profile", "no server"],
)
def test_the_command_line_says_in_one_line_what_is_wrong(
    store: Store, root: str, environment: dict[str, str], exit_code: int, said: str
):
    done = command("--root", root.format(root=store.root), "-q", "report", **environment)

    assert done.returncode == exit_code, done.stderr
    assert done.stderr.startswith("error: cannot list ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert SECRET not in done.stderr


def test_keys_are_in_no_log_and_no_message_and_no_file(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    store.wire.fail("refuse", 1, is_put, **BUSY)
    store.wire.fail("refuse", 1000, is_get, status=403, code="SignatureDoesNotMatch", message="No.")

    with caplog.at_level(logging.INFO):
        storage.write_json(f"{store.root}/x.json", {"k": 1})
        with pytest.raises(UnusableRoot) as raised:
            storage.read_json(f"{store.root}/x.json")

    assert SECRET not in caplog.text + str(raised.value)


def test_a_root_with_keys_in_it_is_refused_without_repeating_them(store: Store):
    done = command("--root", f"s3://{KEY}:{SECRET}@{store.bucket}/evals", "report")

    assert done.returncode == 2
    assert SECRET not in done.stdout + done.stderr
    assert "AWS_ACCESS_KEY_ID" in done.stderr
