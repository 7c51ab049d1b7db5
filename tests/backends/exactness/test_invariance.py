"""No setting, order or neighbour changes an answer: rounds drawn by hypothesis, each against the plain reading."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.records import Request
from llm_eval.specs import Generation
from tests.backends.exactness import questions
from tests.backends.exactness.backend import by_attempt, opened
from tests.backends.exactness.comparison import differences

CONTEXT_TOKENS = 80  # short: some examples are dropped, and some prompts do not fit at all
GENERATION = Generation(max_tokens=8, stop=("\n", "er"))
LITTLE_CACHE = 1e-4  # GiB: some two sequences of this context, or one
_RNG = random.Random(8)
_ONCE = (
    *questions.letters(_RNG)[::3],
    *questions.clozes(_RNG)[::3],
    *questions.overlapping(_RNG)[::4],
    *questions.trees(_RNG)[::2],
    *questions.lone(_RNG)[2::3],
    *questions.texts(seed=8)[::2],
    *questions.prompts(seed=8, count=9),
    *questions.conversations(seed=8)[:4],
    Request("too-long", "too-long", "choices", text=questions.words(_RNG, 120), continuations=questions.LETTERS),
)


def again(request: Request) -> Request:
    """The same question under another id."""
    id = f"again-{request.id}"
    fields = (request.header, request.shots, request.text, request.messages, request.continuations)
    return Request(id, id, request.kind, *fields)


MIXED = (*_ONCE, *(again(request) for request in _ONCE[::3]))

backends = st.fixed_dictionaries(
    {
        "attention": st.sampled_from(["packed", "packed", "packed", "plain"]),
        "batch_tokens": st.sampled_from([16, 33, 128, 1000, 1_000_000, "auto"]),
        "cache_gib": st.sampled_from([LITTLE_CACHE, 1e-3, 4.0, "auto"]),
    }
)


@pytest.fixture(scope="session")
def should(expected):
    return lambda name: expected(name, MIXED, GENERATION, context_tokens=CONTEXT_TOKENS)


def test_the_requests_are_of_every_sort(should):
    answers = should("llama-bos")
    assert {request.kind for request in MIXED} == {"choices", "perplexity", "generate"}
    assert {False, True} == {answer.is_answerable for answer in answers.values()}
    dropped = [r for r in MIXED if answers[r.id].is_answerable and answers[r.id].shots < len(r.shots)]
    assert {answers[request.id].shots for request in dropped} >= {0, 1}


@pytest.mark.parametrize("name", ["llama-bos", "qwen2", "gpt2"])
@given(data=st.data())
@settings(max_examples=6, deadline=None, database=None)
def test_no_budget_cache_order_or_shard_changes_an_answer(zoo, should, name, data):
    backend = data.draw(backends)
    order = data.draw(st.permutations(MIXED))
    asked = order[: data.draw(st.integers(1, len(order)))]
    shards = data.draw(st.integers(1, 3))
    model = opened(zoo(name), context_tokens=CONTEXT_TOKENS, chat=True, **backend)
    found = by_attempt(answer for i in range(shards) for answer in model.answer(asked[i::shards], GENERATION))
    model.close()

    assert differences(found, asked, should(name)) == []


@pytest.mark.parametrize("attention", ["packed", "plain"])
def test_one_token_at_a_time_is_budget_enough(zoo, should, attention):
    model = opened(zoo("qwen2"), context_tokens=CONTEXT_TOKENS, chat=True, batch_tokens=1, attention=attention)
    asked = MIXED[::12]
    assert differences(by_attempt(model.answer(asked, GENERATION)), asked, should("qwen2")) == []
    model.close()


@pytest.mark.parametrize("attention", ["packed", "plain"])
def test_answers_that_nobody_waited_for_leave_nothing_behind(zoo, should, attention):
    model = opened(zoo("llama-bos"), context_tokens=CONTEXT_TOKENS, chat=True, batch_tokens=64, attention=attention)
    for taken in (1, 5):
        answers = model.answer(MIXED, GENERATION)
        first = [next(answers) for _ in range(taken)]
        answers.close()
        rest = [request for request in MIXED if request.id not in {answer.request_id for answer in first}]
        found = by_attempt([*first, *model.answer(rest, GENERATION)])
        assert differences(found, MIXED, should("llama-bos")) == []
    model.close()
