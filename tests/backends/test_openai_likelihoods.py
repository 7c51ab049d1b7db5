"""Log-likelihoods of a served model: those of the same weights loaded here, and a refusal where a server has none."""

import pytest

from llm_eval.backends.openai import OpenAIModel, probe
from llm_eval.backends.openai.answers import BrokenAnswer, IgnoredOption
from llm_eval.backends.openai.likelihoods import read_echo
from llm_eval.errors import BackendLost, InputError, UnsupportedRequest
from llm_eval.records import Likelihood
from llm_eval.specs import DatasetSpec
from tests.backends import served
from tests.backends.api_server import Reply, refused, serving, wrote
from tests.backends.vllm_like import Completions
from tests.builders import DATASET, request

pytestmark = pytest.mark.usefixtures("short_pauses")

CONTINUATIONS = (" A", " B", " the whale", " Paris and Tokyo", "鲸鱼", "？鲸鱼。", " naïve 🐳")
CHOICES = DatasetSpec.model_validate(
    {**DATASET, "prompt": {"kind": "choices", "template": "{{ input }}"}, "extract": [], "metrics": ["accuracy"]}
)


def echoed(text, tokens, prompt_tokens=None):
    """The answer to an echo: tokens with their log-probabilities, one more written after the prompt."""
    names, values = zip(*tokens, strict=True)
    choice = {"text": text, "logprobs": {"tokens": list(names), "token_logprobs": list(values)}}
    return {"choices": [choice], "usage": {"prompt_tokens": prompt_tokens}}


@pytest.mark.parametrize("leaves_last_out", [False, True])
@pytest.mark.parametrize("name", ["llama", "llama-bos", "gpt2"])
def test_choices_are_as_likely_as_with_the_weights_loaded_here(
    ask, models, request_of, sentences, name, leaves_last_out
):
    asked = [request_of(str(i), "choices", text + " Answer: ", CONTINUATIONS) for i, text in enumerate(sentences)]
    local = ask(name, asked)

    with serving(Completions(models / name, leaves_last_out).answer) as server:
        remote = served.ask(server, asked)

    for key, response in local.items():
        for here, there in zip(response.likelihoods, remote[key].likelihoods, strict=True):
            assert (there.tokens, there.bytes) == (here.tokens, here.bytes)
            assert there.logprob == pytest.approx(here.logprob, abs=1e-4)
    assert {r.finish_reason for r in remote.values()} == {"scored"}
    assert all(r.input_tokens > 0 and r.request_seconds > 0 for r in remote.values())


@pytest.mark.parametrize("name", ["llama", "llama-bos"])
def test_whole_texts_too(ask, models, request_of, sentences, name):
    asked = [request_of(str(i), "perplexity", "Read this. ", (text, text[:9])) for i, text in enumerate(sentences)]
    local = ask(name, asked)

    with serving(Completions(models / name).answer) as server:
        remote = served.ask(server, asked)

    for key, response in local.items():
        for here, there in zip(response.likelihoods, remote[key].likelihoods, strict=True):
            assert (there.tokens, there.bytes) == (here.tokens, here.bytes)
            assert there.logprob == pytest.approx(here.logprob, abs=1e-4)


def test_all_continuations_see_the_same_examples(ask, models, request_of, shots):
    """The third does not fit beside the longest of them."""

    def answer(body, number):
        if len(completions._tokenizer.encode(body["prompt"])) > 70:
            return refused(400, "This model's maximum context length is 70 tokens")
        return completions.answer(body, number)

    completions = Completions(models / "llama")
    asked = [request_of("a", "choices", "Question: which? Answer:", (" A", " the whale" * 4), shots=shots)]
    with serving(answer) as server:
        remote = served.ask(server, asked)["a", 0]
    local = ask("llama", asked, context_tokens=70)["a", 0]

    assert 0 < remote.shots == local.shots < 3
    assert [round(one.logprob, 3) for one in remote.likelihoods] == [round(one.logprob, 3) for one in local.likelihoods]


def test_a_token_that_spans_the_border_is_the_continuations():
    echo = read_echo(
        echoed("Is it?yes!", [("Is", None), (" it", -1.0), ("?y", -2.0), ("es", -3.0), ("!", -9)], 4), "Is it?yes"
    )

    assert [piece.logprob for piece in echo.after(6)] == [-2.0, -3.0]


def test_characters_that_are_cut_into_tokens_are_told_apart_by_the_prompts_own():
    tokens = [("Q", None), ("�", -1.0), ("�", -1.5), (" A", -2.0), ("!", -9.0)]

    def answer(body, number):
        own = tokens if body["prompt"].endswith("A") else [*tokens[:3], ("!", -9.0)]
        return Reply(echoed(body["prompt"] + "!", own, len(own) - 1))

    with serving(answer) as server:
        asked = [request("s-1", text="Q鱼", kind="choices", continuations=(" A", "A"))]
        response = served.ask(server, asked)["s-1", 0]

    assert response.likelihoods == (Likelihood(-2.0, 1, 2), Likelihood(-2.0, 1, 1))
    assert [body["prompt"] for body in server.asked] == ["Q鱼 A", "Q鱼", "Q鱼A"]


def test_an_empty_prompt_needs_a_bos(models):
    asked = [request("s-1", text="", kind="choices", continuations=("the whale",))]
    with serving(Completions(models / "llama").answer) as server:
        without = served.ask(server, asked)["s-1", 0]
    with serving(Completions(models / "llama-bos").answer) as server:
        with_one = served.ask(server, asked)["s-1", 0]

    assert without.error.startswith("the server does not say how likely 'the whale' is: the prompt is empty")
    assert with_one.likelihoods[0].logprob < 0


def test_a_request_without_continuations_is_its_samples_error():
    with serving(lambda body, number: wrote("x")) as server:
        response = served.ask(server, [request("s-1", text="A", kind="choices")])["s-1", 0]

    assert response.error == "the request has no continuations to score"


def test_a_server_that_speaks_as_vllm_does_passes_the_probe(models):
    with serving(Completions(models / "llama-bos").answer) as server:
        OpenAIModel.check(served.served(server, chat=False), None, CHOICES, None)

    assert [(b["prompt"], b["echo"], b["max_tokens"], b["logprobs"]) for b in server.asked] == [
        (probe.TEXT, True, 1, 1)
    ]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (wrote(" It is."), "the server ignores echo: the answer does not begin with the prompt"),
        (wrote(probe.TEXT + " It"), "the server ignores logprobs: the answer comes without log-probabilities"),
        (Reply(echoed(probe.TEXT, [(probe.TEXT, None), ("!", -1.0)], 1)), "the prompt's tokens come without"),
        (refused(400, "echo and logprobs not supported"), "400: echo and logprobs not supported"),
        (refused(404, "Not Found"), "404: Not Found"),
        (Reply({"choices": []}), "an answer that is not of OpenAI's form"),
    ],
)
def test_a_server_without_log_probabilities_of_prompts_is_refused_when_the_run_is_planned(reply, words):
    with serving(lambda body, number: reply) as server, pytest.raises(UnsupportedRequest) as refusal:
        OpenAIModel.check(served.served(server, chat=False), None, CHOICES, None)

    said = str(refusal.value)
    assert said.startswith(f"model 'served': {server.url} does not say how likely a given text is (")
    assert words in said
    assert "Choose a variant of the dataset whose prompt is of kind generate" in said


def test_a_server_that_is_away_when_the_run_is_planned_may_come_back():
    with serving(lambda body, number: wrote("x")) as server:
        pass
    with pytest.raises(
        BackendLost, match=r"was to say whether it gives log-probabilities.*but did not answer: no answer"
    ):
        OpenAIModel.check(served.served(server, chat=False), None, CHOICES, None)


def test_a_wrong_key_is_named_when_the_run_is_planned():
    with serving(lambda b, n: refused(401, f"wrong: {served.KEY}")) as server, pytest.raises(InputError) as refusal:
        OpenAIModel.check(served.served(server, chat=False, keys=["SERVER_KEY"]), None, CHOICES, None)

    assert "refuses to be asked (401: wrong: ***). Is the key in SERVER_KEY right?" in str(refusal.value)


def test_planning_asks_nothing_and_needs_no_key_where_answers_are_generated(monkeypatch):
    monkeypatch.delenv("SERVER_KEY")
    with serving(lambda body, number: wrote("x")) as server:
        spec = served.served(server, chat=False, keys=["SERVER_KEY"])
        OpenAIModel.check(spec, None, DatasetSpec.model_validate(DATASET), None)

    assert server.asked == []


def test_a_chat_has_no_log_likelihoods():
    with (
        serving(lambda body, number: wrote("x")) as server,
        pytest.raises(UnsupportedRequest, match="chat completions"),
    ):
        OpenAIModel.check(served.served(server, chat=True), None, CHOICES, None)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (echoed("ab", [("a", None), ("b", "likely"), ("!", -1.0)], 2), BrokenAnswer),
        (echoed("ab", [("a", None), ("b", None), ("!", -1.0)], 2), IgnoredOption),
        ({"choices": [{"text": "ab", "logprobs": {"tokens": ["a"], "token_logprobs": [None, -1.0]}}]}, BrokenAnswer),
        ({"choices": [{"text": "ab", "logprobs": {"token_logprobs": [None, -1.0]}}]}, BrokenAnswer),
        ({"choices": [{"text": "ab", "logprobs": "none"}]}, BrokenAnswer),
        ({"choices": [{"text": None}]}, BrokenAnswer),
    ],
)
def test_what_is_no_echo_is_told_from_one(answer, error):
    with pytest.raises(error):
        read_echo(answer, "ab")
