"""A real server, `transformers serve`, with the demo's model in miniature: it answers as the same weights do here."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from llm_eval.backends.openai import OpenAIModel
from llm_eval.demo.train import train
from llm_eval.errors import InputError, UnsupportedRequest
from llm_eval.records import Message
from llm_eval.specs import DatasetSpec, Generation
from tests.backends.served import ask as ask_server
from tests.backends.served import served
from tests.builders import DATASET, TINY_DEMO, request

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_pauses")]

RECIPE = replace(TINY_DEMO, steps=40, hidden=32, mlp=64)  # enough to write digits and words
QUESTIONS = ("2 + 2 =", "7 + 8 =", "Which animal barks?", "Name a colour.", "1 + 1 =")


class Serve(NamedTuple):
    url: str
    folder: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = tmp_path_factory.mktemp("served")
    train(RECIPE, place / "demo", threads=1, progress=lambda step, loss: None)
    folder = max((place / "demo").iterdir())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place)}
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, place / "log")
        yield Serve(f"http://127.0.0.1:{port}/v1", folder)
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url, process, log):
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"transformers serve did not come up: {log.read_text()[-2000:]}")


def chats():
    return [request(f"s-{n}", text=None, messages=(Message("user", q),)) for n, q in enumerate(QUESTIONS)]


def said(answers, stream):
    """What the two have to agree in. The server leaves characters out of a stream that a last token cuts."""
    return {
        key: (r.text.replace("\N{REPLACEMENT CHARACTER}", "") if stream else r.text, r.finish_reason, r.input_tokens)
        for key, r in answers.items()
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_chat", [True, False])
def test_greedy_answers_are_those_of_the_same_weights_here(ask, server, stream, is_chat):
    asked = chats() if is_chat else [request(f"s-{n}", text=q) for n, q in enumerate(QUESTIONS)]
    local = ask(server.folder, asked, {"max_tokens": 12}, chat=is_chat)

    remote = ask_server(
        server, asked, Generation(max_tokens=12), model=str(server.folder), max_in_flight=3, stream=stream
    )

    assert said(remote, stream) == said(local, stream)
    assert {r.output_tokens for r in remote.values()} == {r.output_tokens for r in local.values()}
    assert len({r.text for r in local.values()}) > 1
    assert all(0 < r.request_seconds < 60 for r in remote.values())
    assert all((r.first_token_seconds is not None) == (stream and bool(r.text)) for r in remote.values())


def test_it_ignores_echo_and_is_refused_for_choices_when_the_run_is_planned(server):
    choices = {**DATASET, "prompt": {"kind": "choices", "template": "{{ input }}"}, "extract": []}
    model = served(server, chat=False, model=str(server.folder))

    with pytest.raises(UnsupportedRequest, match=r"does not say how likely a given text is \(the server ignores echo"):
        OpenAIModel.check(model, None, DatasetSpec.model_validate(choices), None)


def test_it_ignores_log_probabilities_and_its_first_answer_stops_the_run(server):
    with pytest.raises(InputError, match="the server ignores logprobs"):
        ask_server(server, chats(), Generation(max_tokens=4, top_logprobs=2), model=str(server.folder))


def test_another_model_than_it_serves_is_refused_in_its_own_words(server):
    with pytest.raises(InputError, match="Server is pinned to"):
        ask_server(server, chats(), Generation(max_tokens=4), model="another")
