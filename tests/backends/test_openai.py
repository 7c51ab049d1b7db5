"""A served model: what is asked of a real server, what comes back, and what becomes of what a server does wrong."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_eval.backends.openai import OpenAIModel, asking
from llm_eval.backends.openai.faults import retry_after
from llm_eval.errors import BackendLost, InputError, InvalidSpec
from llm_eval.records import Shot
from llm_eval.specs import Generation, ModelSpec
from tests.backends.api_server import Reply, refused, said, serving, wrote
from tests.backends.served import KEY, ask, chat, questions, text_of
from tests.builders import request
from tests.conftest import CHECKOUT

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_a_conversation_is_asked_for_as_the_dataset_says():
    shots = (Shot("One?", "1"), Shot("Two?", "2"))
    generation = Generation(max_tokens=9, temperature=0.5, top_p=0.9, top_k=4, stop=("\n",), seed=3)
    with serving(lambda body, number: said("red\nblue")) as server:
        answered = ask(server, [chat(shots=shots)], generation, keys=["SERVER_KEY"], extra_body={"mood": "calm"})

    (body,) = server.asked
    assert [m["content"] for m in body.pop("messages")] == ["One?", "1", "Two?", "2", "What is it?"]
    assert body == {
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "stop": ["\n"],
        "seed": 3,
        "mood": "calm",
    }
    assert (server.keys, server.paths) == ([KEY], ["/v1/chat/completions"])
    response = answered["s-1", 0]
    assert (response.text, response.finish_reason, response.shots) == ("red", "stop", 2)  # cut where the server did not
    assert (response.input_tokens, response.output_tokens, response.error) == (7, 3, None)


def test_a_text_is_completed():
    with serving(lambda body, number: wrote(" 4")) as server:
        answered = ask(server, [request(text="2 + 2 =", header="Add.\n")])

    assert (server.asked[0]["prompt"], server.paths) == ("Add.\n2 + 2 =", ["/v1/completions"])
    assert (answered["s-1", 0].text, answered["s-1", 0].finish_reason) == (" 4", "length")


def test_several_attempts_are_asked_with_seeds_of_their_own():
    with serving(lambda body, number: said(f"seed {body['seed']}")) as server:
        answered = ask(server, [chat()], Generation(attempts=3, temperature=1.0, seed=5))

    assert {key[1]: r.text for key, r in answered.items()} == {0: "seed 5", 1: "seed 6", 2: "seed 7"}


def test_what_a_server_refuses_to_be_told_can_be_left_out():
    with serving(lambda body, number: said("x")) as server:
        ask(server, [chat()], omit=["temperature", "seed"], max_tokens_field="max_completion_tokens")

    assert {*server.asked[0]} == {"model", "messages", "max_completion_tokens", "top_p"}


def test_as_many_are_in_flight_as_allowed_and_each_gets_its_own_answer():
    def answer(body, number):
        return Reply(said(f"to {text_of(body)}").body, seconds=0.05)

    with serving(answer) as server:
        answered = ask(server, questions(40), max_in_flight=10)

    assert {key[0]: r.text for key, r in answered.items()} == {f"s-{n}": f"to Question {n}?" for n in range(40)}
    assert 5 <= server.at_once <= 10


@pytest.mark.parametrize(
    "fault",
    [
        refused(500, "oops"),
        refused(429, "slow down"),
        refused(503, "loading", Retry_After="0"),
        Reply("<html>busy</html>", headers={"Content-Type": "text/html"}),
        Reply('{"choices": [{"index'),
        Reply({"id": "1", "object": "chat.completion"}),
        Reply({"choices": [{"message": {"content": ["no", "text"]}}]}),
        Reply({"choices": "abc"}),
        Reply({"choices": [None]}),
        Reply("null"),
        Reply("[1]"),
        Reply(said("never whole").body, cut=20),
    ],
    ids=[
        "500",
        "429",
        "503",
        "html",
        "half JSON",
        "no choices",
        "no text",
        "text",
        "nothing",
        "null",
        "list",
        "cut off",
    ],
)
def test_what_may_pass_is_tried_again(fault):
    with serving(lambda body, number: fault if number <= 2 else said("fine")) as server:
        answered = ask(server, [chat()])

    assert answered["s-1", 0].text == "fine"
    assert len(server.asked) == 3


def test_an_answer_that_is_too_late_is_asked_for_again():
    with serving(lambda b, n: Reply(said("late").body, seconds=30.0) if n == 1 else said("fine")) as server:
        response = ask(server, [chat()], timeout_seconds=1.5)["s-1", 0]

    assert response.text == "fine"
    assert len(server.asked) >= 2


def test_a_storm_of_refusals_loses_no_sample_and_slows_the_asking_down():
    refusals = dict.fromkeys(range(30), 0)

    def answer(body, number):
        n = int(text_of(body).split()[1].rstrip("?"))
        if refusals[n] < 3:
            refusals[n] += 1
            return refused(429, "slow down", retry_after_ms="20")
        return said(f"to {n}")

    with serving(answer) as server:
        answered = ask(server, questions(30), max_in_flight=30)

    assert {key[0]: r.text for key, r in answered.items()} == {f"s-{n}": f"to {n}" for n in range(30)}
    assert len(server.asked) == 4 * 30


def test_the_server_is_given_the_time_it_asks_for():
    with serving(lambda b, n: refused(429, "wait", retry_after_ms="400") if n == 1 else said("x")) as server:
        ask(server, [chat()])

    assert server.times[1] - server.times[0] >= 0.4


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            refused(401, f"Incorrect API key provided: {KEY}"),
            r"\(401: Incorrect.*: \*\*\*\)\. Is the key in SERVER_KEY",
        ),
        (refused(403, "not yours"), r"\(403: not yours\)\. Is the key in SERVER_KEY right\?"),
        (refused(404, "no model 'm'"), r"\(404: no model 'm'\)\. Is backend\.model what the server calls it"),
        (refused(400, "temperature must be 1"), r"\(400: temperature must be 1\)"),
        (refused(429, "You exceeded your current quota", "insufficient_quota"), r"\(429: You exceeded"),
    ],
)
def test_what_no_sample_can_have_stops_at_once_with_the_servers_words(fault, words):
    with serving(lambda body, number: fault) as server, pytest.raises(InputError) as stopped:
        ask(server, questions(50), keys=["SERVER_KEY"], max_in_flight=4)

    assert re.match(f"model 'served': {server.url} refuses what is asked {words}", str(stopped.value))
    assert KEY not in str(stopped.value)
    assert len(server.asked) <= 8


def test_one_sample_that_cannot_be_had_fails_alone():
    def answer(body, number):
        if "3" in text_of(body):
            return refused(400, "flagged", "content_filter")
        if "5" in text_of(body):
            return refused(500, "always broken")
        return said("fine")

    with serving(answer) as server:
        answered = ask(server, questions(8))

    errors = {key[0]: r.error for key, r in answered.items() if r.error}
    assert errors == {"s-3": "400: flagged", "s-5": "500: always broken"}
    assert len(server.asked) == 7 + asking.TRIES


def test_a_prompt_that_does_not_fit_loses_its_last_examples():
    shots = tuple(Shot(f"Shot {n}?", "x") for n in range(4))

    def answer(body, number):
        if len(body["messages"]) > 5:
            return refused(400, "This model's maximum context length is 10 tokens", "context_length_exceeded")
        return said("fits")

    with serving(answer) as server:
        response = ask(server, [chat(shots=shots)])["s-1", 0]
    assert (response.text, response.shots) == ("fits", 2)

    with serving(lambda b, n: refused(400, "This model's maximum context length is 10 tokens")) as server:
        response = ask(server, [chat(shots=shots)])["s-1", 0]
    assert response.error == "400: This model's maximum context length is 10 tokens"


def test_a_server_that_is_gone_ends_the_asking_and_not_sample_by_sample():
    with serving(lambda body, number: said("x")) as server:
        pass

    with pytest.raises(BackendLost, match=r"model 'served': \d+ requests in a row were given up.*Cannot connect"):
        ask(server, questions(200), max_in_flight=16)


def test_a_server_that_is_gone_is_lost_for_a_few_samples_too():
    with serving(lambda body, number: said("x")) as server:
        pass

    with pytest.raises(BackendLost, match=r"model 'served': not one of 3 requests was answered: no answer \("):
        ask(server, questions(3))


def test_a_sample_that_breaks_the_server_fails_alone_though_it_is_the_only_one_left():
    with serving(lambda body, number: refused(500, "always broken")) as server:
        assert ask(server, [chat()])["s-1", 0].error == "500: always broken"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"base_urls": ["ftp://x"]}, "not an address such as http://localhost:8000/v1"),
        ({"base_urls": [f"http://user:{KEY}@host/v1"]}, "keys go into `keys`, by name"),
        ({"keys": ["sk-123 456"]}, "not the name of an environment variable; a key itself must not stand here"),
        ({"keys": "SERVER_KEY"}, "keys"),
        ({"max_in_flight": 0}, "max_in_flight"),
    ],
)
def test_a_mistake_in_the_yaml_is_named_and_quotes_no_key(house, values, words):
    house.model(name="served", backend={"kind": "openai", "model": "m", **values}, chat=True)

    with pytest.raises(InvalidSpec, match=words) as mistake:
        house.catalog.model("served")
    assert KEY not in str(mistake.value)


def test_what_is_asked_differently_is_answered_anew():
    def identity(**values):
        backend = {"kind": "openai", "model": "m", "base_urls": ["http://a/v1", "http://b/v1"], **values}
        spec = ModelSpec.model_validate({"name": "served", "backend": backend, "chat": True})
        return OpenAIModel.identity(spec, None, "d", None)

    same = [{}, {"base_urls": ["http://b/v1", "http://a/v1/"]}, {"max_in_flight": 3}, {"keys": ["SERVER_KEY"]}]
    others = [{"model": "n"}, {"base_urls": ["http://a/v1"]}, {"omit": ["seed"]}, {"extra_body": {"mood": "calm"}}]
    assert len({identity(**values) for values in same}) == 1
    assert len({identity(**values) for values in [{}, *others]}) == 1 + len(others)


def test_a_server_that_stays_busy_is_given_up_after_the_patience():
    with serving(lambda body, number: refused(429, "busy")) as server:
        began = time.monotonic()
        response = ask(server, [chat()], patience_seconds=0.3)["s-1", 0]

    assert response.error == "429: busy"
    assert time.monotonic() - began < 10


def test_an_empty_answer_and_a_refusal_are_the_models():
    with serving(lambda b, n: said(None) if n == 1 else said(None, refusal="I will not")) as server:
        answered = ask(server, questions(2), max_in_flight=1)

    assert [(r.text, r.error) for r in answered.values()] == [("", None), ("I will not", None)]


def test_an_answer_that_does_not_count_its_tokens_is_an_answer():
    body = {**said("fine").body, "usage": {"prompt_tokens": "many"}}
    with serving(lambda b, n: Reply(body)) as server:
        response = ask(server, [chat()])["s-1", 0]

    assert (response.text, response.input_tokens, response.output_tokens) == ("fine", 0, 0)


def test_keys_and_addresses_take_turns(monkeypatch):
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    with serving(lambda b, n: said("x")) as one, serving(lambda b, n: said("x")) as other:
        ask(one, questions(8), base_urls=[one.url, other.url], keys=["SERVER_KEY", "OTHER_KEY"], max_in_flight=1)

    assert sorted(one.keys) == sorted(other.keys) == ["sk-other", "sk-other", KEY, KEY]


def test_a_key_that_is_not_there_is_named(monkeypatch):
    monkeypatch.delenv("SERVER_KEY")
    with serving(lambda b, n: said("x")) as server, pytest.raises(InputError, match="variable SERVER_KEY, named in"):
        ask(server, [chat()], keys=["SERVER_KEY"])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_how_long_the_server_asks_to_wait(headers, seconds):
    assert retry_after(headers) == seconds


@pytest.mark.slow
def test_a_whole_run_asks_the_server_publishes_and_leaves_no_key_behind(house):
    def answer(body, number):
        return said("(B)") if number % 3 else refused(500, f"broken, and quoting {KEY}")

    with serving(answer) as server:
        backend = {"kind": "openai", "model": "m", "base_urls": [server.url], "keys": ["SERVER_KEY"]}
        house.model(name="served", backend=backend, chat=True)
        command = [sys.executable, "-m", "llm_eval", "--catalog", str(house.catalog_folder)]
        command += ["--root", house.settings.root, "run", "-m", "served", "-d", "colours", "--format", "json"]
        done = subprocess.run(command, capture_output=True, cwd=CHECKOUT, timeout=120)

    assert done.returncode == 0, done.stderr.decode()
    (headline,) = (row for row in json.loads(done.stdout) if row["headline"])
    assert (headline["samples"], headline["failed"], headline["value"]) == (12, 0, 0.25)
    assert (headline["input_tokens"], headline["output_tokens"]) == (12 * 7, 12 * 3)
    left = [path for path in Path(house.settings.root).rglob("*") if path.is_file()]
    assert len(left) > 10
    assert [path for path in left if KEY.encode() in path.read_bytes()] == []
    assert KEY.encode() not in done.stdout + done.stderr
