"""Answers that are huge, slow, half there or of another kind."""

import resource
import time

import pytest

from tests.backends.api_server import Reply, piece, said, serving, streamed
from tests.backends.served import ask, chat, questions

pytestmark = pytest.mark.usefixtures("short_pauses")

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def slowly(text, pieces, seconds):
    """A body of unknown length in so many pieces, over so many seconds in all."""
    size = -(-len(text) // pieces)
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    return Reply(None, headers=JSON, pieces=tuple((seconds / pieces, part) for part in parts))


def body(text):
    import json

    return json.dumps(said(text).body)


def test_ten_megabytes_are_an_answer():
    with serving(lambda b, n: said("a" * 10 * MIB)) as server:
        response = ask(server, [chat()])["s-1", 0]

    assert len(response.text) == 10 * MIB


def test_ten_megabytes_of_what_is_no_answer_are_no_ten_megabytes_of_error():
    reply = Reply("<html>" + "x" * 10 * MIB, headers={"Content-Type": "text/html"})
    with serving(lambda b, n: reply) as server:
        response = ask(server, [chat()])["s-1", 0]

    assert len(response.error) < 1000
    with serving(lambda b, n: Reply("x" * 10 * MIB, status=500)) as server:
        assert len(ask(server, [chat()])["s-1", 0].error) < 1000


def test_many_big_answers_are_not_held_all_at_once():
    """What was taken is given out and let go: forty answers of 5 MiB are not 200 MiB."""
    from llm_eval.backends.openai import OpenAIModel
    from llm_eval.specs import Generation
    from tests.backends.served import served

    with serving(lambda b, n: said("a" * 5 * MIB)) as server:
        model = OpenAIModel.open(served(server, max_in_flight=2), None, "d", None)
        before = peak_mib()
        lengths = [len(r.text) for r in model.answer(questions(40), Generation())]
        model.close()

    assert lengths == [5 * MIB] * 40
    assert peak_mib() - before < 150


def test_a_body_that_comes_slowly_is_waited_for():
    with serving(lambda b, n: slowly(body("slow but whole"), 10, 0.5)) as server:
        response = ask(server, [chat()])["s-1", 0]

    assert (response.text, len(server.asked)) == ("slow but whole", 1)
    assert response.request_seconds >= 0.45


def test_a_body_that_drips_longer_than_the_time_for_an_answer_is_given_up():
    """A time-out between two bytes would never end this one."""

    def answer(b, n):
        return slowly(body("dripping"), 60, 30.0) if n == 1 else said("fine")

    with serving(answer) as server:
        began = time.monotonic()
        response = ask(server, [chat()], timeout_seconds=1.5)["s-1", 0]

    assert response.text == "fine"
    assert time.monotonic() - began < 15


def test_a_stream_that_drips_longer_than_the_time_for_an_answer_is_given_up():
    def answer(b, n):
        return streamed(*([piece("drip ")] * 60), seconds=0.5) if n == 1 else streamed(piece("fine", "stop"))

    with serving(answer) as server:
        began = time.monotonic()
        response = ask(server, [chat()], timeout_seconds=1.5, stream=True)["s-1", 0]

    assert response.text == "fine"
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "broken",
    [
        Reply(None, headers=JSON, pieces=((0.0, body("half")[:40]),)),
        Reply(None, headers=JSON, pieces=((0.0, ""),)),
        Reply(None, headers={**JSON, "Content-Length": "5000"}, pieces=((0.0, body("less than was promised")),)),
        Reply(None, headers={**JSON, "Content-Encoding": "gzip"}, pieces=((0.0, body("not gzip")),)),
        Reply(body("said as text"), headers={"Content-Type": "text/plain"}),
        Reply("", status=204),
    ],
    ids=["half a body", "no body", "shorter than said", "not as encoded", "text/plain", "204"],
)
def test_what_is_half_there_or_of_another_kind_is_asked_for_again(broken):
    with serving(lambda b, n: broken if n == 1 else said("fine")) as server:
        answered = ask(server, [chat()])

    assert (answered["s-1", 0].text, len(server.asked)) == ("fine", 2)


def test_a_connection_that_the_server_has_closed_half_is_not_asked_again_through():
    """Idle connections that the server closes between two answers cost no sample and no try of the eight."""

    def answer(b, n):
        return Reply(said(f"answer {n}").body, headers={"Connection": "close"} if n % 2 else {})

    with serving(answer) as server:
        answered = ask(server, questions(20), max_in_flight=3)

    assert all(r.error is None for r in answered.values())
    assert len(server.asked) == 20
