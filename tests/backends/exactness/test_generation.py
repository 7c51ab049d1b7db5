"""Greedy answers are token for token those of a plain loop, wherever and whyever they end."""

import json
import shutil
from collections import Counter

import pytest

from llm_eval.records import Request
from llm_eval.specs import Generation
from tests.backends.exactness import questions
from tests.backends.exactness.comparison import CLEAR, differences
from tests.backends.exactness.reference import Reference
from tests.backends.exactness.saving import save_reciting
from tests.backends.exactness.vocabularies import tokenizer
from tests.backends.exactness.zoo import PACKABLE

PROMPTS = questions.prompts(seed=3)
PLAIN = Generation(max_tokens=16)


@pytest.fixture(scope="session")
def stops(expected):
    """stops(name): pieces of four of the greedy answers, some of several tokens, and one that never comes."""

    def of(name: str) -> tuple[str, ...]:
        first, second, third, fourth, *_ = (answer.text for answer in expected(name, PROMPTS, PLAIN).values())
        return first[7:12], second[11:12], third[4:13], fourth[14:17], "never there"

    return of


@pytest.mark.parametrize("name", PACKABLE)
def test_greedy_answers_are_those_of_a_plain_loop(asked, expected, name):
    assert len(PROMPTS) * len(PACKABLE) >= 100
    assert differences(asked(name, PROMPTS, PLAIN, batch_tokens=160), PROMPTS, expected(name, PROMPTS, PLAIN)) == []


@pytest.mark.parametrize("name", PACKABLE)
def test_greedy_answers_with_stop_texts_are_those_of_a_plain_loop(asked, expected, stops, name):
    generation = Generation(max_tokens=16, stop=stops(name))
    should = expected(name, PROMPTS, generation)
    assert Counter(answer.finish_reason for answer in should.values())["stop"] >= 4
    assert differences(asked(name, PROMPTS, generation, batch_tokens=160), PROMPTS, should) == []


@pytest.mark.parametrize("name", PACKABLE)
def test_the_answers_prove_something(expected, name):
    """They differ, and rounding had no say in most of them."""
    answers = expected(name, PROMPTS, PLAIN).values()
    assert len({answer.text for answer in answers}) > 0.9 * len(PROMPTS)
    assert sum(answer.margin > CLEAR for answer in answers) >= 0.8 * len(PROMPTS)


@pytest.mark.parametrize("name", ["llama-bos", "gpt2"])
def test_the_plain_path_writes_the_same(asked, expected, stops, name):
    generation = Generation(max_tokens=16, stop=stops(name))
    found = asked(name, PROMPTS, generation, attention="plain", batch_tokens=160)
    assert differences(found, PROMPTS, expected(name, PROMPTS, generation)) == []


@pytest.mark.parametrize("name", ["llama", "llama-sentencepiece"])
def test_every_stop_text_wherever_tokens_end_in_it_cuts_where_it_begins(asked, expected, name):
    """Ten texts, cut from one answer at every place, each asked alone."""
    prompt = PROMPTS[2:3]
    (whole,) = expected(name, prompt, PLAIN).values()
    for at in range(1, 11):
        generation = Generation(max_tokens=16, stop=(whole.text[at : at + 4],))
        should = expected(name, prompt, generation)
        assert should[prompt[0].id].text == whole.text[: whole.text.index(generation.stop[0])]
        assert differences(asked(name, prompt, generation), prompt, should) == []


@pytest.mark.parametrize("name", ["llama", "gpt-neox"])
def test_answers_that_end_by_themselves_make_room_for_others_and_change_none(asked, expected, zoo, tmp_path, name):
    """Every end token ends answers at another step, so slots are refilled all the time."""
    folder = tmp_path / name
    shutil.copytree(zoo(name), folder)
    words = Reference(folder).words
    written = Counter(
        token for answer in expected(name, PROMPTS, PLAIN).values() for token in words.bare(answer.text)[2:]
    )
    ends = [token for token, _ in written.most_common(6)]
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": ends}))
    ending = Reference(folder)
    should = {prompt.id: ending.answer(prompt, PLAIN) for prompt in PROMPTS}
    assert len({answer.output_tokens for answer in should.values() if answer.finish_reason == "stop"}) >= 4
    for budget in (24, 4096):
        assert differences(asked(folder, PROMPTS, PLAIN, batch_tokens=budget), PROMPTS, should) == []


@pytest.mark.parametrize("max_tokens", [1, 2, 50])
def test_answers_of_any_length_are_those_of_a_plain_loop(asked, expected, max_tokens):
    generation, prompts = Generation(max_tokens=max_tokens), PROMPTS[:6]
    should = expected("qwen2", prompts, generation)
    assert differences(asked("qwen2", prompts, generation), prompts, should) == []


def test_greedy_attempts_are_all_the_same(asked, expected):
    generation = Generation(max_tokens=6, attempts=3)
    found = asked("llama", PROMPTS, generation)
    assert differences(found, PROMPTS, expected("llama", PROMPTS, generation), attempts=3) == []


# Characters that SentencePiece writes as bytes, between others that it has no token for either: a window over the last
# few tokens may begin in the middle of one, and then the decoder takes none of them for a character.
@pytest.mark.parametrize(
    ("vocabulary", "prompt", "answer", "stop"),
    [
        ("llama2", "the answer", "京é", "no such"),
        ("llama2", "the answer", "éж", "ж"),
        ("llama2", "é京", "é", "no such"),
        ("llama2", "the answer", "😀京éж", "ж"),
        ("mistral", "é京", "é", "no such"),
        ("mistral", "the answer", "😀京éж", "ж"),
        ("gpt2", "é京", "é", "no such"),
        ("gpt2", "the answer", "😀京éж", "ж"),
    ],
)
def test_characters_of_several_tokens_are_read_as_characters(asked, tmp_path, vocabulary, prompt, answer, stop):
    words = tokenizer(vocabulary)
    before, until, whole = (words(text).input_ids for text in (prompt, prompt + answer, prompt + answer + " garden"))
    assert whole[: len(until)] == until
    assert until[: len(before)] == before
    save_reciting(tmp_path, vocabulary, before[-1], [*whole[len(before) :], words.eos_token_id])

    request = Request("a", "a", "generate", text=prompt)
    (found,) = asked(tmp_path, [request], Generation(max_tokens=30, stop=(stop,))).values()

    if stop in answer:
        assert (found.text, found.output_tokens) == (answer.removesuffix(stop), len(until) - len(before))
    else:
        assert (found.text, found.output_tokens) == (answer + " garden", len(whole) - len(before) + 1)
    assert found.finish_reason == "stop"
