import functools
import json

import pytest

from llm_eval.backends.transformers.engine.sampling import Stops, pick
from llm_eval.specs import Generation

SAMPLED = {"max_tokens": 16, "temperature": 1.0, "seed": 3}


@pytest.fixture
def prompts(request_of, sentences):
    return [request_of(str(i), "generate", text * (1 + i % 3)) for i, text in enumerate(sentences)]


def texts(answers) -> dict:
    return {key: response.text for key, response in answers.items()}


@pytest.fixture
def written_ids(models):
    """written_ids(name, prompt, max_tokens): what the library's own `generate` writes, one prompt at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    @functools.cache
    def loaded(name: str):
        return AutoModelForCausalLM.from_pretrained(models / name).eval(), AutoTokenizer.from_pretrained(models / name)

    def write(name: str, prompt, max_tokens: int) -> list[int]:
        network, tokenizer = loaded(name)
        ids = torch.tensor([tokenizer.encode(prompt.text)])
        written = network.generate(ids, do_sample=False, max_new_tokens=max_tokens, pad_token_id=0)
        return written[0, ids.shape[1] :].tolist()

    return write


@pytest.mark.parametrize("name", ["llama", "llama-bos", "gpt2"])
def test_greedy_answers_are_those_of_the_library_alone_and_in_any_batch(ask, models, prompts, written_ids, name):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models / name)
    expected = {(p.id, 0): tokenizer.decode(written_ids(name, p, 16), skip_special_tokens=True) for p in prompts}
    assert len(set(expected.values())) == len(prompts), "answers must differ to prove anything"
    for settings in ({"batch_tokens": 1}, {"batch_tokens": 50}, {}, {"attention": "plain"}):
        assert texts(ask(name, prompts, {"max_tokens": 16}, **settings)) == expected


def test_an_answer_at_its_limit_says_so_and_counts_its_tokens(ask, prompts):
    answer = ask("llama", prompts[:1], {"max_tokens": 5})["0", 0]
    assert (answer.finish_reason, answer.output_tokens) == ("length", 5)
    assert answer.latency_seconds > 0


def test_a_sampled_answer_does_not_depend_on_its_neighbours(ask, prompts):
    together = texts(ask("llama", prompts, SAMPLED, batch_tokens=8))
    alone = texts(ask("llama", prompts, SAMPLED, batch_tokens=1))
    assert together == alone
    assert together != texts(ask("llama", prompts, {"max_tokens": 16}))


def test_attempts_differ_and_a_seed_decides_them(ask, prompts):
    first = ask("llama", prompts[:1], {**SAMPLED, "attempts": 4})
    assert [key[1] for key in sorted(first)] == [0, 1, 2, 3]
    assert len(set(texts(first).values())) == 4
    assert texts(ask("llama", prompts[:1], {**SAMPLED, "attempts": 4})) == texts(first)
    assert texts(ask("llama", prompts[:1], {**SAMPLED, "attempts": 4, "seed": 4})) != texts(first)
    assert ask("llama", prompts[:1], SAMPLED)["0", 0].text == first["0", 0].text


@pytest.mark.parametrize(
    ("options", "draw", "token"),
    [
        ({}, 0.0, 2),
        ({}, 0.49, 2),
        ({}, 0.51, 0),
        ({}, 0.79, 0),
        ({}, 0.81, 3),
        ({}, 0.9999, 1),
        ({"top_k": 1}, 0.9999, 2),
        ({"top_k": 2}, 0.62, 2),  # of 0.5 and 0.3 the first is 0.625
        ({"top_k": 2}, 0.63, 0),
        ({"top_p": 0.5}, 0.9999, 2),
        ({"top_p": 0.51}, 0.9999, 0),
        ({"top_p": 0.8001}, 0.9999, 3),
        ({"temperature": 0.5}, 0.68, 2),  # squared and scaled: .25 / .365
        ({"temperature": 0.5}, 0.69, 0),
        ({"temperature": 1e-30}, 0.9999, 2),
        ({"temperature": 0.0}, 0.9999, 2),
    ],
)
def test_draws_fall_on_the_cumulated_probabilities(options, draw, token):
    import torch

    logits = torch.tensor([[0.3, 0.05, 0.5, 0.15], [0.0, 1.0, 0.0, 0.0]]).log() + 7.0
    generation = Generation.model_validate({"temperature": 1.0, **options})
    assert pick(logits, generation, [draw, draw]).tolist() == [token, 1]


@pytest.mark.parametrize("begin", range(3, 9))
def test_an_answer_is_cut_before_a_stop_text_wherever_its_tokens_end(ask, prompts, begin):
    whole = ask("llama", prompts[1:2], {"max_tokens": 24})["1", 0]
    stop = whole.text[begin : begin + 4]
    answer = ask("llama", prompts[1:2], {"max_tokens": 24, "stop": ["never there", stop]})["1", 0]
    assert answer.text == whole.text[: whole.text.index(stop)]
    assert answer.finish_reason == "stop"
    assert 0 < answer.output_tokens < whole.output_tokens


def test_the_first_stop_text_in_the_answer_counts_not_the_first_in_the_list(ask, prompts):
    whole = ask("llama", prompts[1:2], {"max_tokens": 24})["1", 0].text
    late, early = whole[9:11], whole[4:6]
    answer = ask("llama", prompts[1:2], {"max_tokens": 24, "stop": [late, early]})["1", 0]
    assert answer.text == whole[: min(whole.index(late), whole.index(early))]


def test_of_two_stop_texts_in_one_token_the_earlier_cuts():
    assert Stops(frozenset(), ("d", "b", "no")).cut("abcde") == "a"


def test_a_stop_text_in_the_prompt_stops_nothing(ask, request_of):
    prompt = request_of("a", "generate", "Water boils.\n\n")
    plain = ask("llama", [prompt], {"max_tokens": 4})["a", 0]
    assert ask("llama", [prompt], {"max_tokens": 4, "stop": ["boils", "\n\n"]})["a", 0].text == plain.text


def test_a_stop_text_that_ends_at_the_limit_is_a_stop(ask, prompts):
    whole = ask("llama", prompts[1:2], {"max_tokens": 6})["1", 0].text
    answer = ask("llama", prompts[1:2], {"max_tokens": 6, "stop": [whole[-1]]})["1", 0]
    assert answer.finish_reason == "stop"


def test_any_of_several_end_tokens_ends_an_answer_and_is_no_part_of_it(ask, written_ids, copy_of, models, prompts):
    ids = written_ids("llama", prompts[1], 12)
    assert ids[2] not in ids[:2]
    folder = copy_of("llama")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [2, ids[2]]}))
    batch = ask(folder, prompts, {"max_tokens": 12})
    plain = ask(models / "llama", prompts[1:2], {"max_tokens": 2})["1", 0]
    assert batch["1", 0].text == plain.text
    assert (batch["1", 0].finish_reason, batch["1", 0].output_tokens) == ("stop", 3)
    longer = [key for key, response in batch.items() if response.output_tokens > 3]
    others = ask(models / "llama", prompts, {"max_tokens": 12})
    assert longer
    assert all(others[key].text.startswith(batch[key].text) for key in longer)


def test_a_control_token_named_as_stop_ends_an_answer_though_decoding_would_hide_it(load):
    loaded = load("llama")._answerer.loaded
    assert Stops.of(loaded, Generation(stop=("<|im_end|>", "\n"))).ids == {2, 4}


def test_a_model_without_a_cache_writes_the_same(ask, load, prompts, monkeypatch):
    from llm_eval.backends.transformers import loading

    expected = texts(ask("llama", prompts, {"max_tokens": 8}))
    accepts = loading._accepts
    monkeypatch.setattr(
        loading, "_accepts", lambda network: accepts(network) - {"use_cache", "past_key_values", "frame"}
    )
    model = load("llama")
    model._answerer.loaded.model.config.use_cache = False
    answers = list(model.answer(prompts, Generation(max_tokens=8)))
    assert {(r.request_id, r.attempt): r.text for r in answers} == expected


def test_chat_prompts_are_answered(ask, conversation_of, sentences):
    requests = [conversation_of(str(i), "generate", ("user", text)) for i, text in enumerate(sentences)]
    together = ask("llama", requests, {"max_tokens": 6}, chat=True)
    alone = ask("llama", requests, {"max_tokens": 6}, chat=True, batch_tokens=1)
    assert texts(together) == texts(alone)
    assert len(set(texts(alone).values())) > 1
