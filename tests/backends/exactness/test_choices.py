"""Seventy questions of every shape to each of seven models, against a plain reading of one sequence at a time."""

from collections import Counter

import pytest

from tests.backends.exactness import questions
from tests.backends.exactness.comparison import CLEAR, best, differences, lead, logprobs
from tests.backends.exactness.zoo import PACKABLE

CHOICES = questions.choices(seed=1)
LETTERS = [request for request in CHOICES if request.id.startswith("letters")]
OVERLAPPING = [request for request in CHOICES if request.id.startswith("overlap")]


@pytest.mark.parametrize("name", PACKABLE)
def test_questions_of_every_shape_are_scored_as_one_by_one(asked, expected, name):
    assert len(CHOICES) * len(PACKABLE) >= 400
    assert differences(asked(name, CHOICES, batch_tokens=192), CHOICES, expected(name, CHOICES)) == []


@pytest.mark.parametrize("name", ["llama-bos", "gpt2"])
def test_the_plain_path_scores_them_alike(asked, expected, name):
    found = asked(name, CHOICES, attention="plain", batch_tokens=192)
    assert differences(found, CHOICES, expected(name, CHOICES)) == []


@pytest.mark.parametrize("name", PACKABLE)
def test_the_questions_prove_something(expected, name):
    """Which choice wins varies and is rarely a matter of rounding, and letters are tokens of their own."""
    answers = expected(name, CHOICES)
    winners = Counter(best(answers[request.id]) for request in CHOICES)
    assert winners.most_common(1)[0][1] < 0.7 * len(CHOICES)
    assert len({best(answers[request.id]) for request in LETTERS}) > 1
    assert sum(lead(answers[request.id]) > CLEAR for request in CHOICES) >= 58  # the ten with twins have no lead
    assert {one.tokens for request in LETTERS for one in answers[request.id].likelihoods} == {1}
    assert max(one.tokens for answer in answers.values() for one in answer.likelihoods) >= 5


@pytest.mark.parametrize("name", PACKABLE)
def test_log_probabilities_depend_on_what_was_read_first(expected, name):
    """Otherwise a wrong header, example or passage would go unnoticed."""
    answers = expected(name, CHOICES)
    without = [type(r)(r.id, r.id, r.kind, text=r.text, shots=r.shots, continuations=r.continuations) for r in LETTERS]
    bare = expected(name, without)
    for request in LETTERS:
        moved = zip(logprobs(answers[request.id]), logprobs(bare[request.id]), strict=True)
        assert max(abs(a - b) for a, b in moved) > 100 * 1e-4


@pytest.mark.parametrize("name", PACKABLE)
def test_the_same_continuation_twice_has_the_same_log_probability(asked, name):
    for answer in asked(name, OVERLAPPING).values():
        assert answer.likelihoods[0] == answer.likelihoods[3]


def test_chat_questions_and_answers_are_those_of_the_template_read_one_by_one(asked, expected):
    talks = questions.conversations(seed=4)
    for name in ("llama", "llama-bos", "qwen2"):
        assert differences(asked(name, talks, chat=True), talks, expected(name, talks)) == []
