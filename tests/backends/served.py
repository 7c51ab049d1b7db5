"""Asks a model behind a server of a test's own."""

from llm_eval.backends.openai import OpenAIModel
from llm_eval.records import Message
from llm_eval.specs import Generation, ModelSpec
from tests.builders import request

KEY = "sk-secret-4711"


def served(server, chat=True, **backend):
    """The model that this server serves."""
    values = {"kind": "openai", "model": "m", "base_urls": [server.url], **backend}
    return ModelSpec.model_validate({"name": "served", "backend": values, "chat": chat})


def ask(server, requests, generation=None, place=None, **backend):
    """Every response, by request id and attempt."""
    opened = OpenAIModel.open(served(server, **backend), None, "d", None, place)
    try:
        responses = list(opened.answer(requests, generation or Generation()))
    finally:
        opened.close()
    assert len({(r.request_id, r.attempt) for r in responses}) == len(responses)
    return {(r.request_id, r.attempt): r for r in responses}


def chat(id="s-1", text="What is it?", **fields):
    return request(id, text=None, messages=(Message("user", text),), **fields)


def questions(count):
    return [chat(f"s-{n}", f"Question {n}?") for n in range(count)]


def text_of(body):
    return body["messages"][-1]["content"]
