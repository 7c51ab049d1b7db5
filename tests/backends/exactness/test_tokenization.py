"""Requests of any text are read as the tokenizer reads their whole text: a wrong token shows in a log-probability."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.records import Message, Request, Shot
from llm_eval.specs import Generation
from tests.backends.exactness.backend import by_attempt
from tests.backends.exactness.comparison import differences
from tests.backends.exactness.vocabularies import SPECIALS, VOCABULARIES

ONE_TOKEN = Generation(max_tokens=1)
# What tokens begin, end or span with: blanks of all sorts, digits, marks that join the letter before, bytes.
_PIECES = [
    *(" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u200b"),
    *("A", " A", "the", " the", " of the", "Answer:", "\nAnswer:", "Question", " river", "garden", "never"),
    *("1", "12", "345", " 1984", "3.14", "+", " = ", "'s", "n't", "...", ",", "-"),
    # letters that NFC takes apart, the last of them into a mark that goes with the line break after it
    *("ab\n", "12\n", "鲸\n", "\u095d\n", "\ufb2a\n", "①\n", "⒈\n", "\nQuestion", "\n's", "\n \n"),
    *("é", "e\u0301", "ﬁ", "ß", "题目", "鲸鱼", "東京", "😀", "👩‍👩‍👧", "ж"),
    *SPECIALS,
]
texts = st.lists(st.sampled_from(_PIECES) | st.text(max_size=2), max_size=5).map("".join)
shots = st.lists(st.builds(Shot, texts, texts), max_size=2).map(tuple)


@st.composite
def asked_together(draw):
    """Up to three requests with the same header and examples, each of any kind, as plain text or as a conversation."""
    header, examples = draw(texts), draw(shots)
    found = []
    for i in range(draw(st.integers(1, 3))):
        kind, text = draw(st.sampled_from(["choices", "choices", "perplexity", "generate"])), draw(texts)
        endings = () if kind == "generate" else tuple(draw(st.lists(texts, min_size=1, max_size=3)))
        prompt = {"messages": (Message("user", text),)} if draw(st.integers(0, 4)) == 0 else {"text": text}
        found.append(Request(str(i), str(i), kind, header, examples, continuations=endings, **prompt))
    return found


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@given(requests=asked_together())
@settings(max_examples=20, deadline=None, database=None)
def test_any_text_is_read_as_the_tokenizer_reads_it_whole(kept_open, reference, vocabulary, requests):
    plain = reference(f"reads-{vocabulary}")
    should = {request.id: plain.answer(request, ONE_TOKEN) for request in requests}
    # What a lone token spells depends on how much of the text before it is decoded with it; what was read does not.
    should = {id: dataclasses.replace(answer, margin=0.0) for id, answer in should.items()}
    found = by_attempt(kept_open(f"reads-{vocabulary}").answer(requests, ONE_TOKEN))
    assert differences(found, requests, should) == []


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_tokenizers_are_what_their_names_say(reference, vocabulary):
    words = reference(f"reads-{vocabulary}").words
    begins = words.tokenizer("a b").input_ids[0] == words.tokenizer.bos_token_id
    ends = words.tokenizer("a b").input_ids[-1] == words.tokenizer.eos_token_id
    assert begins == (vocabulary in {"llama3", "llama2", "mistral", "gemma", "ending"})
    assert ends == (vocabulary in {"unigram", "ending"})
    pieces = words.tokenizer.convert_ids_to_tokens(words.bare("the river"))
    assert any("▁" in piece for piece in pieces) == (vocabulary in {"llama2", "mistral", "gemma", "unigram"})


def test_what_texts_have_in_common_ends_nowhere_within_a_word(kept_open, reference):
    """NFC writes the letter before the line break as two, and the second of them and the break are one word."""
    model, plain = kept_open("reads-qwen"), reference("reads-qwen")
    requests = [
        Request(str(i), str(i), "choices", text=f"\u095d\n{end}", continuations=(" A",))
        for i, end in enumerate(["the", " \nthe"])
    ]
    should = {request.id: plain.answer(request, ONE_TOKEN) for request in requests}
    assert differences(by_attempt(model.answer(requests, ONE_TOKEN)), requests, should) == []
