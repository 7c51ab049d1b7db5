"""What a dataset asks of a served model's answers beside their text, what they cost and how long they take."""

import math

import pytest

from llm_eval.backends import check_specs
from llm_eval.backends.openai import OpenAIModel
from llm_eval.errors import InputError, UnsupportedRequest
from llm_eval.records import TokenLogprob
from llm_eval.specs import DatasetSpec, Generation, ModelSpec
from tests.backends.api_server import Reply, piece, said, serving, streamed, wrote
from tests.backends.served import ask, chat, questions, served, text_of
from tests.builders import DATASET, MODEL, request

pytestmark = pytest.mark.usefixtures("short_pauses")

SCHEMA = {"type": "object", "properties": {"grade": {"type": "integer"}}, "required": ["grade"]}
PRICE = {"input_per_million": 2.0, "output_per_million": 10.0}


def dataset(generation=None, **prompt):
    return DatasetSpec.model_validate(
        {**DATASET, "prompt": {**DATASET["prompt"], **prompt}, "generation": generation or {}}
    )


def with_logprobs(text, tokens, **choice):
    """A chat completion that also says which first tokens were likely."""
    alternatives = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in tokens]
    first = {"token": text[:1], "logprob": -0.1, "top_logprobs": alternatives}
    reply = said(text)
    reply.body["choices"][0]["logprobs"] = {"content": [first, {**first, "top_logprobs": []}], **choice}
    return reply


def counted(reply, usage, **choice):
    reply.body["usage"] = usage
    return reply


def test_an_answer_of_a_schema_is_asked_for():
    with serving(lambda body, number: said('{"grade": 3}')) as server:
        answered = ask(server, [chat()], Generation(json_schema=SCHEMA))

    assert server.asked[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
    assert answered["s-1", 0].text == '{"grade": 3}'


def test_the_likeliest_first_tokens_of_a_chat_come_in_order():
    tokens = [("B", -1.5), ("A", -0.3), ("C", -9999.0)]
    with serving(lambda body, number: with_logprobs("A.", tokens)) as server:
        answered = ask(server, [chat()], Generation(top_logprobs=2))

    assert (server.asked[0]["logprobs"], server.asked[0]["top_logprobs"]) == (True, 2)
    assert answered["s-1", 0].first_tokens == (TokenLogprob("A", -0.3), TokenLogprob("B", -1.5))


def test_the_likeliest_first_tokens_of_a_plain_completion_too():
    def answer(body, number):
        reply = wrote(" A or B")
        reply.body["choices"][0]["logprobs"] = {
            "tokens": [" A", " or"],
            "token_logprobs": [-0.3, -0.2],
            "top_logprobs": [{" B": -1.5, " A": -0.3}, {" or": -0.2}],
        }
        return reply

    with serving(answer) as server:
        answered = ask(server, [request(text="A or B?")], Generation(top_logprobs=2))

    assert server.asked[0]["logprobs"] == 2
    assert answered["s-1", 0].first_tokens == (TokenLogprob(" A", -0.3), TokenLogprob(" B", -1.5))


@pytest.mark.parametrize(
    "reply",
    [said("A"), with_logprobs("A", []), with_logprobs("A", [], content=None), with_logprobs("A", [], content=[])],
)
def test_a_server_that_ignores_logprobs_is_found_out_with_its_first_answer(reply):
    with serving(lambda body, number: reply) as server, pytest.raises(InputError) as stopped:
        ask(server, questions(50), Generation(top_logprobs=2), max_in_flight=2)

    assert "ignores what is asked (the server ignores logprobs: the answer comes without" in str(stopped.value)
    assert len(server.asked) <= 4


def test_one_answer_without_log_probabilities_among_others_fails_alone_and_is_not_paid_for_again():
    def answer(body, number):
        return said("A") if "Question 2" in text_of(body) else with_logprobs("A", [("A", -0.3)])

    with serving(answer) as server:
        answered = ask(server, questions(4), Generation(top_logprobs=2), max_in_flight=1)

    assert {k[0]: r.error for k, r in answered.items() if r.error} == {
        "s-2": "the server ignores logprobs: the answer comes without the log-probabilities of its first token"
    }
    assert len(server.asked) == 4


def test_an_empty_answer_has_no_first_token():
    with serving(lambda body, number: said("")) as server:
        answered = ask(server, [chat()], Generation(top_logprobs=2))

    assert (answered["s-1", 0].first_tokens, answered["s-1", 0].error) == ((), None)


@pytest.mark.parametrize("broken", [[("A", "likely")], [("A", None)], [(3, -1.0)], [("A", True)]])
def test_log_probabilities_that_are_none_are_a_broken_answer(broken):
    def answer(body, number):
        return with_logprobs("A", broken) if number == 1 else with_logprobs("A", [("A", -0.3)])

    with serving(answer) as server:
        answered = ask(server, [chat()], Generation(top_logprobs=1))

    assert answered["s-1", 0].first_tokens == (TokenLogprob("A", -0.3),)
    assert len(server.asked) == 2


@pytest.mark.parametrize("extra", [{"json_schema": SCHEMA}, {"top_logprobs": 3}])
@pytest.mark.parametrize("kind", ["transformers", "replay", "scripted", "openai"])
def test_what_a_backend_cannot_do_is_refused_when_the_catalog_is_read(kind, extra):
    backend = {"kind": kind, **({"path": "x"} if kind in ("transformers", "replay") else {})}
    model = ModelSpec.model_validate({**MODEL, "backend": {**backend, **({"model": "m"} if kind == "openai" else {})}})

    if kind == "openai" or (kind == "scripted" and "json_schema" in extra):
        check_specs(model, dataset(extra))
    else:
        (name,) = extra
        with pytest.raises(UnsupportedRequest, match=f"'{kind}' cannot do what generation.{name} of dataset 'colours'"):
            check_specs(model, dataset(extra))


def test_a_schema_needs_a_chat():
    with serving(lambda body, number: said("x")) as server:
        OpenAIModel.check(served(server), None, dataset({"json_schema": SCHEMA}), None)
        with pytest.raises(UnsupportedRequest, match="in chat completions only, and `chat` is false"):
            OpenAIModel.check(served(server, chat=False), None, dataset({"json_schema": SCHEMA}), None)


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (PRICE, {"prompt_tokens": 1000, "completion_tokens": 50}, 0.0025),
        (
            PRICE,
            {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 800}},
            0.0025,
        ),
        (
            {**PRICE, "cached_input_per_million": 0.5},
            {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 800}},
            0.0013,  # 200 * 2 + 800 * 0.5 + 50 * 10 millionths
        ),
        (PRICE, {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": None}, 0.0025),
        (PRICE, {}, None),
        (PRICE, None, None),
        (None, {"prompt_tokens": 1000, "completion_tokens": 50}, None),
    ],
)
def test_an_answer_costs_what_its_tokens_cost(price, usage, cost):
    with serving(lambda body, number: counted(said("x"), usage)) as server:
        response = ask(server, [chat()], price=price)["s-1", 0]

    assert response.cost_usd is None if cost is None else math.isclose(response.cost_usd, cost)


def test_the_time_of_a_request_is_its_own_however_many_are_in_flight():
    def answer(body, number):
        return Reply(said("x").body, seconds=0.2)

    with serving(answer) as server:
        answered = ask(server, questions(20), max_in_flight=10)

    assert all(0.2 <= r.request_seconds < 30 for r in answered.values())
    assert sum(r.latency_seconds for r in answered.values()) < 0.8 * sum(r.request_seconds for r in answered.values())
    assert all(r.first_token_seconds is None for r in answered.values())


def test_a_streamed_answer_is_whole_and_says_when_it_began():
    usage = {"id": "1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 4}}
    start = {"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    with serving(
        lambda body, n: streamed(start, piece("It "), piece("is "), piece("red", "length"), usage, seconds=0.5)
    ) as server:
        response = ask(server, [chat()], stream=True, price=PRICE)["s-1", 0]

    assert (server.asked[0]["stream"], server.asked[0]["stream_options"]) == (True, {"include_usage": True})
    assert (response.text, response.finish_reason) == ("It is red", "length")
    assert (response.input_tokens, response.output_tokens, response.cost_usd) == (5, 4, 5e-05)
    assert 1.0 <= response.first_token_seconds < response.request_seconds - 0.2


def test_a_streamed_plain_completion_has_its_log_probabilities_too():
    first = {"tokens": [" 4"], "token_logprobs": [-0.1], "top_logprobs": [{" 4": -0.1, " 5": -3.0}]}
    chunks = [
        {"choices": [{"index": 0, "text": " 4", "logprobs": first, "finish_reason": None}]},
        {"choices": [{"index": 0, "text": "!", "logprobs": {**first, "top_logprobs": [{}]}, "finish_reason": "stop"}]},
    ]
    with serving(lambda body, number: streamed(*chunks)) as server:
        response = ask(server, [request(text="2 + 2 =")], Generation(top_logprobs=2), stream=True)["s-1", 0]

    assert (response.text, response.first_tokens) == (" 4!", (TokenLogprob(" 4", -0.1), TokenLogprob(" 5", -3.0)))


@pytest.mark.parametrize(
    "broken",
    [
        streamed(piece("It "), piece("is ")),
        streamed(piece("It "), end=""),
        streamed(piece("It "), end='data: {"choi'),
        streamed(piece("It "), end="data: [1]\n\n"),
        streamed(piece("It "), {"error": {"message": "overloaded"}}),
        said("not a stream at all"),
        Reply("<html>", headers={"Content-Type": "text/html"}),
    ],
    ids=["no end", "cut off", "half JSON", "a list", "an error within", "no stream", "html"],
)
def test_a_stream_that_breaks_is_asked_for_again(broken):
    with serving(lambda body, number: broken if number == 1 else streamed(piece("fine", "stop"))) as server:
        answered = ask(server, [chat()], stream=True)

    assert (answered["s-1", 0].text, len(server.asked)) == ("fine", 2)


def test_several_attempts_come_from_one_request_where_the_yaml_says_so():
    def answer(body, number):
        choices = [said(f"answer {i}").body["choices"][0] for i in range(body["n"])]
        usage = {"prompt_tokens": 10, "completion_tokens": 7}
        return Reply({**said("").body, "choices": choices, "usage": usage})

    with serving(answer) as server:
        generation = Generation(attempts=3, temperature=1.0, seed=5)
        answered = ask(server, questions(2), generation, attempts_in_one_request=True, price=PRICE)

    assert [(body["n"], body["seed"]) for body in server.asked] == [(3, 5), (3, 5)]
    first = [answered["s-0", attempt] for attempt in range(3)]
    assert [r.text for r in first] == ["answer 0", "answer 1", "answer 2"]
    assert (sum(r.input_tokens for r in first), sum(r.output_tokens for r in first)) == (10, 7)
    assert math.isclose(sum(r.cost_usd for r in first), 9e-05)


def test_a_server_that_ignores_how_many_answers_are_asked_for_is_found_out():
    with (
        serving(lambda body, number: said("x")) as server,
        pytest.raises(InputError, match="ignores n: 1 of 3 answers"),
    ):
        ask(server, questions(9), Generation(attempts=3), attempts_in_one_request=True, max_in_flight=1)

    assert len(server.asked) == 1
