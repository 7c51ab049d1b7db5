"""Answers by a server's batch API: handed in once, waited for, and fetched by whoever is still there."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llm_eval import storage
from llm_eval.backends.openai import OpenAIModel, batching
from llm_eval.backends.openai.batch_server import BatchServer
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import BackendLost, BudgetSpent, InputError, StillWaiting, UnsupportedRequest
from llm_eval.layout import WHOLE, Shard
from llm_eval.records import Response, Shot
from llm_eval.specs import DatasetSpec, Generation
from llm_eval.stages.parts import PartWriter
from tests.backends.api_server import Reply, refused, said
from tests.backends.batch_api import serving_batches
from tests.backends.served import KEY, ask, chat, questions, served, text_of
from tests.builders import DATASET
from tests.conftest import CHECKOUT

pytestmark = pytest.mark.usefixtures("short_pauses")

PRICE = {"input_per_million": 1.0, "output_per_million": 1.0}


@pytest.fixture
def place(tmp_path):
    folder = str(tmp_path / "responses")
    storage.make_folder(folder)
    return Workplace(str(tmp_path), folder, WHOLE, "part-mine", waits=False)


def batch(server, place, requests, generation=None, **backend):
    return ask(server, requests, generation, place, mode="batch", poll_seconds=0.05, **backend)


def texts(answered):
    return {key[0]: r.text for key, r in answered.items()}


def echo(body):
    return said(f"to {text_of(body)}")


def wanted(count):
    return {f"s-{n}": f"to Question {n}?" for n in range(count)}


def test_requests_are_handed_in_and_answers_fetched_when_they_are_there(place):
    with serving_batches(echo) as server:
        server.last_look = 3
        answered = batch(
            server, replace(place, waits=True), questions(5), Generation(max_tokens=9, seed=3), price=PRICE
        )

    assert texts(answered) == wanted(5)
    first = answered["s-0", 0]
    assert (first.input_tokens, first.output_tokens, first.cost_usd) == (7, 3, 0.00001)
    assert (first.request_seconds, first.latency_seconds) == (None, 0.0)
    (made,) = server.batches.values()
    assert (made["endpoint"], made["completion_window"]) == ("/v1/chat/completions", "24h")
    line = server.requests()[0]
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"] == {
        "model": "m",
        "messages": [{"role": "user", "content": "Question 0?"}],
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 3,
    }
    assert server.looks == 3
    assert server.asked_at_once == []


def test_who_is_not_to_wait_is_told_when_to_come_again_and_hands_in_nothing_twice(place):
    with serving_batches(echo) as server:
        for _ in range(3):
            with pytest.raises(StillWaiting, match=r"1 batch\(es\) at work, 0 of 5 requests done") as waiting:
                batch(server, place, questions(5))
        server.finish()
        answered = batch(server, place, questions(5))

    assert waiting.value.seconds == 0.05
    assert texts(answered) == wanted(5)
    assert len(server.batches) == 1


def test_answers_that_were_lost_on_their_way_to_a_part_are_fetched_again(place):
    with serving_batches(echo) as server:
        server.finish()
        batch(server, place, questions(5))
        again = batch(server, place, questions(5)[2:4])

    assert texts(again) == {"s-2": "to Question 2?", "s-3": "to Question 3?"}
    assert len(server.batches) == 1


def test_force_hands_in_anew_but_goes_on_waiting_for_what_is_at_work(place):
    with serving_batches(echo) as server:
        server.finish()
        batch(server, place, questions(3))
        forced = replace(place, outdated=frozenset(file.name for file in Path(place.folder).iterdir()))
        server.is_done = False
        for _ in range(2):
            with pytest.raises(StillWaiting):
                batch(server, forced, questions(3))
        server.finish()
        for _ in range(2):  # also where the first answers were lost on their way to a part
            assert texts(batch(server, forced, questions(3))) == wanted(3)

    assert len(server.batches) == 2


def test_what_failed_in_a_batch_is_a_samples_error_and_handed_in_again_by_a_later_try(place):
    def answer(body):
        if "3" in text_of(body) and len(server.batches) == 1:
            return refused(500, f"broken, quoting {KEY}")
        return echo(body)

    with serving_batches(answer) as server:
        server.finish()
        first = batch(server, place, questions(5), keys=["SERVER_KEY"])
        second = batch(server, place, [chat("s-3", "Question 3?")], keys=["SERVER_KEY"])

    assert {k[0]: r.error for k, r in first.items() if r.error} == {"s-3": "500: broken, quoting ***"}
    assert texts(second) == {"s-3": "to Question 3?"}
    assert [len(server.files[b["input_file_id"]].splitlines()) for b in server.batches.values()] == [5, 1]
    assert server.keys == {KEY}
    assert all(KEY.encode() not in path.read_bytes() for path in Path(place.folder).iterdir())


def test_what_a_batch_had_no_time_for_is_an_error_too(place):
    with serving_batches(echo) as server:
        server.status, server.expires = "expired", lambda body: "1" in text_of(body)
        server.finish()
        answered = batch(server, place, questions(3))

    assert [r.error for r in answered.values() if r.error] == [
        "the batch gave up on this (This request could not be executed in time.)"
    ]
    assert len(answered) == 3


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_a_batch_that_ends_without_a_file_has_no_answers(place, status):
    with serving_batches(lambda body: echo(body)) as server:
        server.status, server.batch = status, lambda id: {**server.batches[id], "status": status}
        answered = batch(server, place, questions(2))

    assert {r.error for r in answered.values()} == {f"batch batch-0 ended ({status}) without an answer to this"}


def test_a_batch_that_the_server_refuses_stops_the_run_and_is_forgotten(place):
    with serving_batches(echo) as server:
        server.status = "failed"
        server.finish()
        with pytest.raises(InputError, match=r"refuses batch batch-0: the file is no good"):
            batch(server, place, questions(2))
        server.status = "completed"
        assert texts(batch(server, place, questions(2))) == wanted(2)


def test_a_batch_that_the_server_has_forgotten_is_handed_in_again_by_the_next_try(place):
    with serving_batches(echo) as server:
        with pytest.raises(StillWaiting):
            batch(server, place, questions(2))
        server.batches.clear()
        with pytest.raises(BackendLost, match="does not know batch batch-0 any more"):
            batch(server, place, questions(2))
        server.finish()
        assert texts(batch(server, place, questions(2))) == wanted(2)


def test_of_two_that_find_a_batch_forgotten_neither_forgets_what_the_other_hands_in(place, monkeypatch):
    look = BatchServer.look
    with serving_batches(echo) as server:

        def overtaken(self, id):
            state = look(self, id)
            monkeypatch.setattr(BatchServer, "look", look)
            with pytest.raises(BackendLost):
                batch(server, place, questions(2))
            with pytest.raises(StillWaiting):
                batch(server, place, questions(2))
            return state

        with pytest.raises(StillWaiting):
            batch(server, place, questions(2))
        server.batches.clear()
        monkeypatch.setattr(BatchServer, "look", overtaken)
        with pytest.raises(BackendLost):
            batch(server, place, questions(2))
        server.finish()
        assert texts(batch(server, place, questions(2))) == wanted(2)
        assert len(server.batches) == 1


def test_a_server_that_is_busy_or_broken_for_a_moment_is_asked_again(place):
    with serving_batches(echo) as server:
        server.faults += [refused(503, "busy"), refused(500, "oops"), Reply("<html>"), refused(429, "slow")]
        server.finish()
        answered = batch(server, place, questions(2))

    assert texts(answered) == wanted(2)


def test_a_server_without_batches_is_named(place):
    with serving_batches(echo) as server:
        server.faults.append(refused(404, "Not Found"))
        with pytest.raises(InputError, match=r"refuses a batch \(404: Not Found\)"):
            batch(server, place, questions(2))


def test_what_does_not_fit_with_all_examples_is_asked_at_once_with_fewer(place):
    def answer(body):
        if len(body["messages"]) > 5:
            return refused(400, "This model's maximum context length is 10 tokens", "context_length_exceeded")
        return said("fits")

    shots = tuple(Shot(f"Shot {n}?", "x") for n in range(3))
    with serving_batches(answer) as server:
        server.finish()
        answered = batch(server, place, [chat("long", shots=shots), chat("short")])

    assert {k[0]: (r.text, r.shots) for k, r in answered.items()} == {"long": ("fits", 2), "short": ("fits", 0)}
    assert len(server.batches) == 1


def test_many_requests_become_several_batches(place, monkeypatch):
    monkeypatch.setattr(batching, "MOST_REQUESTS", 3)
    with serving_batches(echo) as server:
        server.finish()
        assert texts(batch(server, place, questions(7))) == wanted(7)
    assert len(server.batches) == 3

    monkeypatch.setattr(batching, "MOST_BYTES", 500)
    with serving_batches(echo) as server:
        server.finish()
        assert texts(batch(server, replace(place, shard=Shard(0, 2)), questions(4))) == wanted(4)
    assert len(server.batches) == 2


def test_of_two_that_hand_in_the_same_one_withdraws_and_takes_the_others_answers(place, monkeypatch):
    with serving_batches(echo) as server:
        server.finish()
        first, second = (OpenAIModel.open(served(server, mode="batch"), None, "d", None, place) for _ in range(2))
        hand_in = BatchServer.hand_in

        def overtaken(self, lines, path):
            made = hand_in(self, lines, path)
            monkeypatch.setattr(BatchServer, "hand_in", hand_in)
            list(first.answer(questions(2), Generation()))
            return made

        monkeypatch.setattr(BatchServer, "hand_in", overtaken)
        answered = list(second.answer(questions(2), Generation()))
        first.close()
        second.close()

    assert {r.request_id: r.text for r in answered} == wanted(2)
    assert (len(server.batches), server.withdrawn) == (2, ["batch-0"])


def test_who_comes_second_goes_by_what_was_handed_in_since_it_looked(place):
    with serving_batches(echo) as server:
        server.finish()
        first, second = (OpenAIModel.open(served(server, mode="batch"), None, "d", None, place) for _ in range(2))
        answered = [list(each.answer(questions(2), Generation())) for each in (first, second)]
        first.close()
        second.close()

    assert [{r.request_id: r.text for r in each} for each in answered] == [wanted(2)] * 2
    assert len(server.batches) - len(server.withdrawn) == 1


def test_a_budget_that_is_spent_hands_in_nothing(place):
    with serving_batches(echo) as server:
        server.finish()
        batch(server, place, questions(2))
        write = {"price": PRICE, "budget": {"max_tokens": 1}}
        with PartWriter(place.folder, WHOLE) as parts:
            parts.add(Response("old", text="A", input_tokens=1, output_tokens=1))
        with pytest.raises(BudgetSpent, match="with 3 answers left"):
            batch(server, place, [chat(f"new-{n}") for n in range(3)], **write)

    assert len(server.batches) == 1


def test_log_likelihoods_are_not_asked_for_in_batches():
    choices = {**DATASET, "prompt": {"kind": "choices", "template": "{{ input }}"}, "extract": []}
    with serving_batches(echo) as server, pytest.raises(UnsupportedRequest, match="are not asked for in batches"):
        OpenAIModel.check(served(server, chat=False, mode="batch"), None, DatasetSpec.model_validate(choices), None)


def test_several_attempts_and_log_probabilities_in_a_batch(place):
    with serving_batches(lambda body: said(f"seed {body['seed']}")) as server:
        server.finish()
        answered = batch(server, place, [chat()], Generation(attempts=2, temperature=1.0, seed=5))
        with pytest.raises(InputError, match="the server ignores logprobs"):
            batch(server, place, [chat("s-2")], Generation(top_logprobs=2))

    assert {key[1]: r.text for key, r in answered.items()} == {0: "seed 5", 1: "seed 6"}


def test_two_models_that_are_asked_the_same_in_one_folder_have_answers_of_their_own(place):
    """As two judges of one run are."""
    with serving_batches(lambda body: said(f"says {body['model']}")) as server:
        for name in ("a", "b"):
            with pytest.raises(StillWaiting):
                batch(server, place, questions(2), model=name)
        server.finish()
        answered = {name: {*texts(batch(server, place, questions(2), model=name)).values()} for name in ("a", "b")}

    assert answered == {"a": {"says a"}, "b": {"says b"}}


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_waits_costs_nothing(house):
    with serving_batches(lambda body: said("(B)")) as server:
        backend = {"kind": "openai", "model": "m", "base_urls": [server.url], "mode": "batch", "poll_seconds": 0.2}
        house.model(name="served", backend=backend, chat=True)
        command = [sys.executable, "-m", "llm_eval", "--catalog", str(house.catalog_folder)]
        command += ["--root", house.settings.root, "run", "-m", "served", "-d", "colours", "--format", "json"]
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=CHECKOUT)
        end = time.monotonic() + 240
        while server.looks < 3 and time.monotonic() < end:
            time.sleep(0.1)
        killed.kill()
        killed.wait()
        server.finish()
        done = subprocess.run(command, capture_output=True, cwd=CHECKOUT, timeout=120, text=True)

    assert server.looks >= 3
    assert done.returncode == 0, done.stderr
    (headline,) = (row for row in json.loads(done.stdout) if row["headline"])
    assert (headline["samples"], headline["failed"], headline["latency_p50_seconds"]) == (12, 0, None)
    assert (len(server.batches), len(server.requests())) == (1, 12)
