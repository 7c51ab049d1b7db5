"""What was read and what sharing saved add up to a reading of one sequence at a time."""

import random

import pytest

from llm_eval.records import Request
from llm_eval.specs import Generation
from tests.backends.exactness import questions
from tests.backends.exactness.backend import opened
from tests.backends.exactness.zoo import PACKABLE

CHOICES = questions.choices(seed=1)
ALL = (*CHOICES, *questions.texts(seed=2), *questions.prompts(seed=3))
GENERATION = Generation(max_tokens=4)
LITTLE_CACHE = 2e-4  # GiB: one or two sequences that fill the context


def counted(found) -> dict:
    return {key: answer.prefill_tokens + answer.reused_tokens for key, answer in found.items()}


def saved(found) -> int:
    return sum(answer.reused_tokens for answer in found.values())


@pytest.mark.parametrize("name", PACKABLE)
def test_prefixes_that_requests_share_are_read_once(asked, expected, name):
    should = expected(name, CHOICES)
    one_by_one = sum(sum(answer.sequences) for answer in should.values())
    found = asked(name, CHOICES)
    assert saved(found) > 0.4 * one_by_one
    assert 0 < sum(answer.prefill_tokens for answer in found.values()) < 0.6 * one_by_one


@pytest.mark.parametrize("name", ["llama-bos", "gpt2"])
@pytest.mark.parametrize("settings", [{}, {"batch_tokens": 16}, {"batch_tokens": 64, "cache_gib": LITTLE_CACHE}])
def test_each_answer_counts_what_it_would_read_alone_whatever_the_budget_and_order(asked, expected, name, settings):
    alone = {(id, 0): sum(answer.sequences) for id, answer in expected(name, ALL, GENERATION).items()}
    assert counted(asked(name, ALL, GENERATION, **settings)) == alone
    assert counted(asked(name, ALL[::-1], GENERATION, **settings)) == alone


def test_attempts_share_the_reading_of_their_prompt(asked):
    rng, attempts = random.Random(9), 4
    prompts = [Request(str(i), str(i), "generate", text=f"{i} {questions.words(rng, 40)}") for i in range(5)]
    found = asked("llama", prompts, Generation(max_tokens=4, temperature=1.0, attempts=attempts))
    for prompt in prompts:
        answers = [found[prompt.id, attempt] for attempt in range(attempts)]
        (alone,) = {answer.input_tokens for answer in answers}
        assert {answer.prefill_tokens + answer.reused_tokens for answer in answers} == {alone}
        assert sum(answer.prefill_tokens for answer in answers) <= alone + attempts


def test_no_more_is_read_than_what_is_counted(zoo):
    """Tokens that really pass through the embedding, padding and all."""
    import torch

    read = []

    def count(module, inputs) -> None:
        if isinstance(module, torch.nn.Embedding):
            read.append(inputs[0].numel())

    model = opened(zoo("llama"), batch_tokens=200)
    hook = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        answers = list(model.answer(CHOICES, Generation()))
    finally:
        hook.remove()
        model.close()
    assert sum(answer.prefill_tokens for answer in answers) == sum(read) > 0
