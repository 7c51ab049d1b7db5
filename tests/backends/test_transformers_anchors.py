"""Tokenising only what is new: the same tokens as tokenising all, or not used at all."""

import random

import pytest

from llm_eval.backends.transformers.anchors import Anchors
from tests.backends.exactness import vocabularies

PIECES = [
    *("word", "A", " ", "\n", "\n\n", "  ", "\t", "9", "12", "é", "鲸", "。", ".", "?", "'s", "\r\n", "😀", "<s>"),
    *("<|im_end|>", "</s>", "x\ny", "Answer: A\n", "\u0301", "﷽", "²", "Ⅷ", "_", "-", "\u00a0", "\u2028", "\x0b"),
    *("\n \n", "don't\n", "A.\n"),
]


@pytest.fixture
def wrapped():
    from transformers import PreTrainedTokenizerFast

    def make(name: str):
        return PreTrainedTokenizerFast(
            tokenizer_object=getattr(vocabularies, name)(), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
        )

    return make


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("name", ["gpt2", "llama3", "qwen"])
def test_texts_that_begin_alike_have_the_tokens_that_they_have_alone(wrapped, name, special):
    tokenizer, draw = wrapped(name), random.Random(name)
    anchors = Anchors(tokenizer)
    assert anchors.works
    text = ""
    for _ in range(800):
        fresh = "".join(draw.choice(PIECES) for _ in range(draw.randrange(1, 25)))
        text = (text[: draw.randrange(len(text) + 1)] if draw.random() < 0.7 else "") + fresh
        assert anchors.encode(text, special=special) == tokenizer.encode(text, add_special_tokens=special)


def test_only_what_is_new_is_given_to_the_tokenizer(wrapped):
    tokenizer = wrapped("llama3")
    anchors = Anchors(tokenizer)
    given = []

    class Watched:
        def __call__(self, text, **options):
            given.append(text)
            return tokenizer(text, **options)

    anchors._tokenizer = Watched()
    block = "Question: which?\nAnswer: A\n\n"
    anchors.encode(block * 3 + "Question: one\nAnswer:", special=True)
    anchors.encode(block * 3 + "Question: two\nAnswer:", special=True)
    anchors.encode(block * 3 + "Question: two\nAnswer: A", special=True)
    assert given[1:] == ["\n\nQuestion: two\nAnswer:", "\nAnswer: A"]


@pytest.mark.parametrize("name", ["gpt2_with_a_blank_in_front", "llama2", "mistral", "gemma", "unigram", "ending"])
def test_tokenizers_without_such_places_are_left_alone(wrapped, name):
    assert not Anchors(wrapped(name)).works
