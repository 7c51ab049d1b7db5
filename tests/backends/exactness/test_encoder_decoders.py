"""T5 and BART: answers of padded batches against one prompt at a time through the library's own code."""

import json
import logging
import random
import shutil
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest

from llm_eval.backends.transformers import TransformersModel
from llm_eval.backends.transformers.loading import NOT_FINITE
from llm_eval.errors import InvalidData
from llm_eval.prompts import chat_prompt, is_chat, text_prompt
from llm_eval.records import Likelihood, Request, Response
from llm_eval.specs import Generation
from tests.backends.exactness import questions
from tests.backends.exactness.backend import by_attempt, opened
from tests.backends.exactness.comparison import NATS
from tests.backends.exactness.saving import vary
from tests.backends.exactness.vocabularies import tokenizer

BART_POSITIONS = 96
STOPS = ("er", "\n")
_RNG = random.Random(9)
CHOICES = (
    *questions.letters(_RNG)[::3],
    *questions.clozes(_RNG)[::2],
    *questions.overlapping(_RNG)[::3],
    *questions.trees(_RNG)[::3],
    *questions.lone(_RNG)[::3],
)
PROMPTS = tuple(questions.prompts(seed=9))
TALKS = tuple(questions.conversations(seed=9)[:4])
LONG = Request("long", "long", "choices", text=questions.words(_RNG, 150), continuations=questions.LETTERS)


def _t5(words: Any, **config: Any) -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    ids = {"pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id}
    ids["decoder_start_token_id"] = words.pad_token_id
    return T5ForConditionalGeneration(T5Config(vocab_size=len(words), n_positions=16, **ids, **sizes, **config))


def _flan_t5(words: Any) -> Any:
    """Gated, and with output embeddings of its own, which no setting tells of."""
    import torch

    network = _t5(words, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    network.lm_head.weight = torch.nn.Parameter(torch.empty_like(network.lm_head.weight))
    return network


def _bart(words: Any) -> Any:
    from transformers import BartConfig, BartForConditionalGeneration

    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {"layers": 2, "attention_heads": 4, "ffn_dim": 48}.items()
    }
    ids = {"pad_token_id": words.pad_token_id, "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    ids |= {"decoder_start_token_id": words.eos_token_id, "forced_eos_token_id": None}
    sizes = {"d_model": 32, "max_position_embeddings": BART_POSITIONS, **sides}
    return BartForConditionalGeneration(BartConfig(vocab_size=len(words), **ids, **sizes))


NETWORKS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "t5": ("unigram", _t5),
    "flan-t5": ("unigram", _flan_t5),
    "bart": ("ending", _bart),
}
_SEED = 7  # of weights with which few prompts are answered alike


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("encoder-decoders")

    @cache
    def folder(name: str) -> Path:
        import torch

        vocabulary, network_of = NETWORKS[name]
        words = tokenizer(vocabulary)
        torch.manual_seed(_SEED)
        network = network_of(words)
        vary(network)
        network.save_pretrained(root / name)
        words.save_pretrained(root / name)
        return root / name

    return folder


class OneByOne:
    """The model through the library's own code: labels for choices, `generate` for answers."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        self.words = AutoTokenizer.from_pretrained(folder)
        self._network = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        self.context: int | None = getattr(self._network.config, "max_position_embeddings", None)

    def encoded(self, request: Request, answer: int) -> tuple[int, list[int]] | None:
        """Examples that fit, and the encoder's tokens; None if nothing fits."""
        for shots in range(len(request.shots), -1, -1):
            if is_chat(request):
                turns = [{"role": m.role, "content": m.content} for m in chat_prompt(request, shots)]
                text = self.words.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
                ids = [*self.words(text, add_special_tokens=False).input_ids, self.words.eos_token_id]
            else:
                text = text_prompt(request, shots)
                ids = self.words(text.rstrip() if request.kind == "choices" else text).input_ids
            if self.context is None or max(len(ids), answer) <= self.context:
                return shots, ids
        return None

    def likelihoods(self, request: Request) -> tuple[Likelihood, ...] | None:
        import torch

        text = "" if is_chat(request) else text_prompt(request, 0)
        blanks = text[len(text.rstrip()) :]
        own = [c.lstrip() if is_chat(request) else blanks + c for c in request.continuations]
        labels = [self.words(one, add_special_tokens=False).input_ids for one in own]
        found = self.encoded(request, max(map(len, labels)))
        if found is None:
            return None
        likelihoods = []
        for continuation, ids in zip(request.continuations, labels, strict=True):
            with torch.inference_mode():
                logits = self._network(input_ids=torch.tensor([found[1]]), labels=torch.tensor([ids])).logits[0]
            logprobs = logits.double().log_softmax(-1)[range(len(ids)), ids]
            likelihoods.append(Likelihood(logprobs.sum().item(), len(ids), len(continuation.encode())))
        return tuple(likelihoods)

    def text(self, request: Request, max_tokens: int) -> str | None:
        import torch

        found = self.encoded(request, max_tokens)
        if found is None:
            return None
        ids = self._network.generate(torch.tensor([found[1]]), max_new_tokens=max_tokens, do_sample=False)[0, 1:]
        text: str = self.words.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text[: min((text.index(stop) for stop in STOPS if stop in text), default=len(text))]


@pytest.fixture(scope="module")
def one_by_one(folder_of) -> Callable[[str], OneByOne]:
    return cache(lambda name: OneByOne(folder_of(name)))


@pytest.fixture
def ask(folder_of):
    """ask(name, requests, generation, **backend): responses by (request id, attempt)."""

    def answers(name: str, requests, generation=None, **backend) -> dict[tuple[str, int], Response]:
        model: TransformersModel = opened(folder_of(name), **backend)
        try:
            return by_attempt(model.answer(requests, generation or Generation()))
        finally:
            model.close()

    return answers


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch_tokens", [16, 300, "auto"])
def test_choices_are_scored_as_one_by_one(ask, one_by_one, name, batch_tokens):
    found = ask(name, CHOICES, batch_tokens=batch_tokens)

    winners = set()
    for request in CHOICES:
        should, response = one_by_one(name).likelihoods(request), found[request.id, 0]
        assert (response.error is None) == (should is not None)
        if should is None:
            continue
        assert [(one.tokens, one.bytes) for one in response.likelihoods] == [(o.tokens, o.bytes) for o in should]
        assert [one.logprob for one in response.likelihoods] == pytest.approx([o.logprob for o in should], abs=NATS)
        assert response.shots == one_by_one(name).encoded(request, 1)[0]
        winners.add(max(range(len(should)), key=lambda i, should=should: should[i].logprob))
    assert len(winners) > 2


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch_tokens", [16, 300, "auto"])
def test_answers_are_written_as_one_by_one(ask, one_by_one, name, batch_tokens):
    found = ask(name, PROMPTS, Generation(max_tokens=12, stop=STOPS), batch_tokens=batch_tokens)

    texts = {request.id: one_by_one(name).text(request, 12) for request in PROMPTS}
    assert {id: response.text for (id, _), response in found.items()} == texts
    assert len(set(texts.values())) > len(texts) // 2


@pytest.mark.parametrize("name", NETWORKS)
def test_conversations_end_as_texts_do(ask, one_by_one, name):
    found = ask(name, TALKS, Generation(max_tokens=8, stop=STOPS), chat=True)

    for request in TALKS:
        response = found[request.id, 0]
        if request.kind == "generate":
            assert response.text == one_by_one(name).text(request, 8)
        else:
            should = one_by_one(name).likelihoods(request)
            assert [o.logprob for o in response.likelihoods] == pytest.approx([o.logprob for o in should], abs=NATS)


@pytest.mark.parametrize("name", ["flan-t5", "bart"])
def test_samples_depend_on_no_neighbour(ask, name):
    generation = Generation(max_tokens=10, temperature=0.7, top_k=20, top_p=0.95, attempts=3, seed=4)
    found = ask(name, PROMPTS[:6], generation)

    again = ask(name, PROMPTS[5:2:-1], generation, batch_tokens=16)

    assert {key: response.text for key, response in again.items()} == {key: found[key].text for key in again}
    assert len({found[PROMPTS[0].id, attempt].text for attempt in range(3)}) > 1


def test_accounts_do_not_depend_on_the_budget(ask):
    """The encoder reads a prompt once for its choices where they fit a batch; what that saves is told."""
    totals = []
    for batch_tokens in (16, 2000):
        found = ask("t5", CHOICES, batch_tokens=batch_tokens).values()
        totals.append(sum(response.prefill_tokens + response.reused_tokens for response in found))
        saved = sum(response.reused_tokens for response in found)
    assert totals[0] == totals[1]
    assert saved > 0.4 * totals[1]


def test_positions_that_are_learned_end_and_relative_ones_do_not(ask):
    assert "does not fit the context of 96" in ask("bart", [LONG])["long", 0].error
    assert ask("t5", [LONG])["long", 0].error is None
    assert "does not fit the context of 50" in ask("t5", [LONG], context_tokens=50)["long", 0].error


def test_a_prompt_may_take_all_positions_but_not_one_more(ask, one_by_one):
    words = one_by_one("bart").words
    sizes = {len(words("A" * n).input_ids): "A" * n for n in range(1, 500)}
    requests = [Request(str(n), str(n), "generate", text=sizes[n]) for n in (BART_POSITIONS, BART_POSITIONS + 1)]
    found = ask("bart", requests, Generation(max_tokens=BART_POSITIONS))
    assert found[str(BART_POSITIONS), 0].error is None
    assert "prompt of 98 tokens does not fit" in found[str(BART_POSITIONS + 1), 0].error


def test_the_probability_of_a_text_that_is_read_is_not_given(ask):
    (response,) = ask("t5", [Request("x", "x", "perplexity", text="", continuations=("Water boils.",))]).values()
    assert response.error == "an encoder-decoder gives no probability to a text that it reads"


def test_the_log_says_why_it_is_slower(ask, caplog):
    with caplog.at_level(logging.INFO):
        ask("t5", [])
    assert "attention plain, which is slower: it is an encoder-decoder" in caplog.text


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_small_dtypes_answer_too(ask, dtype):
    found = ask("flan-t5", CHOICES[:4], dtype=dtype)
    exact = ask("flan-t5", CHOICES[:4])
    for key, response in found.items():
        assert response.likelihoods[0].logprob == pytest.approx(exact[key].likelihoods[0].logprob, rel=0.1)


def test_a_nan_fails_only_the_prompts_that_meet_it(folder_of, one_by_one):
    import torch

    whale = one_by_one("flan-t5").words("whale", add_special_tokens=False).input_ids[-1]
    requests = [
        Request(f"{text}-{kind}", text, kind, text=text, continuations=(" A", " B"))
        for text in ("the river", "the whale")
        for kind in ("choices", "generate")
    ]
    model = opened(folder_of("flan-t5"))
    with torch.no_grad():
        model._answerer.loaded.model.get_input_embeddings().weight[whale] = torch.nan
    found = by_attempt(model.answer(requests, Generation(max_tokens=4)))
    model.close()

    errors = {id: response.error for (id, _), response in found.items()}
    assert {id for id, error in errors.items() if error is None} == {"the river-choices", "the river-generate"}
    assert errors["the whale-choices"] == errors["the whale-generate"] == NOT_FINITE


def test_one_that_does_not_say_what_an_answer_begins_with_is_refused(folder_of, tmp_path):
    folder = tmp_path / "silent"
    shutil.copytree(folder_of("t5"), folder)
    (folder / "generation_config.json").unlink()
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "decoder_start_token_id": None, "bos_token_id": None}))
    with pytest.raises(InvalidData, match=r"model 'tiny'.* neither decoder_start_token_id nor bos_token_id"):
        opened(folder)


def test_full_memory_halves_the_batch_and_loses_nothing(ask, monkeypatch):
    """As a GPU fails; the network itself says so for batches of more than two rows."""
    import torch
    from transformers import T5ForConditionalGeneration

    forward = T5ForConditionalGeneration.forward

    @wraps(forward)  # whoever asks what arguments it takes is told of its own
    def narrow(self, *arguments, attention_mask=None, **keywords):
        if attention_mask is not None and len(attention_mask) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, *arguments, attention_mask=attention_mask, **keywords)

    monkeypatch.setattr(T5ForConditionalGeneration, "forward", narrow)
    found = ask("t5", CHOICES[:6] + PROMPTS[:5], Generation(max_tokens=4))
    assert {key for key, _ in found} == {request.id for request in CHOICES[:6] + PROMPTS[:5]}
    assert not [response.error for response in found.values() if response.error]
