"""Texts, whole and in windows, against a plain reading of one window after the other."""

import pytest

from llm_eval.records import Request
from tests.backends.exactness import questions
from tests.backends.exactness.comparison import differences
from tests.backends.exactness.zoo import PACKABLE

TEXTS = questions.texts(seed=2)
# From texts shorter than one window to texts of many; two of them begin alike.
LONG = [
    Request(f"long-{i}", f"long-{i}", "perplexity", text="", continuations=(" ".join(sentences),))
    for i, sentences in enumerate([["Water boils."], *(questions.SENTENCES * n for n in (1, 2, 3))])
]


@pytest.mark.parametrize("name", PACKABLE)
def test_texts_that_begin_alike_have_the_log_probability_of_each_read_alone(asked, expected, name):
    assert differences(asked(name, TEXTS, batch_tokens=128), TEXTS, expected(name, TEXTS)) == []


@pytest.mark.parametrize("context_tokens", [7, 33, 200])
@pytest.mark.parametrize("name", ["llama-bos", "qwen3", "gpt2"])
def test_texts_longer_than_the_context_have_that_of_their_windows_read_alone(asked, expected, name, context_tokens):
    should = expected(name, LONG, context_tokens=context_tokens)
    windows = {len(answer.sequences) for answer in should.values()}
    assert len(windows) >= (3 if context_tokens < 100 else 2)
    for attention in ("packed", "plain"):
        found = asked(name, LONG, context_tokens=context_tokens, attention=attention, batch_tokens=64)
        assert differences(found, LONG, should) == []
