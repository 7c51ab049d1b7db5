"""What a model answers when it reads one sequence at a time: no batch, no padding, no cache, nothing shared.

Written from the rules in `records` and the docstrings of the backend's `tokens` and `encoding`, not from its code.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from llm_eval.prompts import chat_prompt, is_chat, text_prompt
from llm_eval.records import FinishReason, Likelihood, Request
from llm_eval.specs import Generation


@dataclass(frozen=True)
class Expected:
    """An answer. `margin`: by how many nats each written token beat the runner-up, at least.

    sequences: tokens of each text that has to be read for it; what follows a text's last token takes no reading.
    """

    shots: int = 0
    input_tokens: int = 0
    likelihoods: tuple[Likelihood, ...] = ()
    text: str | None = None
    output_tokens: int = 0
    finish_reason: FinishReason = "scored"
    margin: float = math.inf
    sequences: tuple[int, ...] = ()
    is_answerable: bool = True


UNANSWERABLE = Expected(is_answerable=False)


class TooLong(Exception):
    """With so many examples it does not fit the context."""


class Pair(NamedTuple):
    prompt: list[int]
    continuation: list[int]


class Words:
    """The tokenizer's plain rules."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        self._appended = (
            [self.tokenizer.eos_token_id] if self.tokenizer("a").input_ids[-1:] == [self.tokenizer.eos_token_id] else []
        )

    def encode(self, text: str) -> list[int]:
        ids = self.tokenizer(text).input_ids
        return ids[: len(ids) - len(self._appended)]

    def bare(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def prompt(self, request: Request, shots: int) -> tuple[str, Any]:
        """Its text, and what encodes it."""
        if not is_chat(request):
            return text_prompt(request, shots), self.encode
        turns = [{"role": m.role, "content": m.content} for m in chat_prompt(request, shots)]
        return self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False), self.bare

    def first(self) -> list[int]:
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return [eos if bos is None else bos]

    def pair(self, request: Request, shots: int, continuation: str) -> Pair:
        """The prompt's blanks are the continuation's; a template keeps its own, and a turn begins without any."""
        prompt, encode = self.prompt(request, shots)
        if is_chat(request):
            continuation = continuation.lstrip()
        else:
            prompt, continuation = prompt.rstrip(), prompt[len(prompt.rstrip()) :] + continuation
        before = encode(prompt)
        return Pair(before or self.first(), encode(prompt + continuation)[len(before) :] or self.bare(continuation))

    def text_after(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        def plain(tokens: list[int]) -> str:
            return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

        before, whole = plain(list(prompt)), plain([*prompt, *ids])
        return whole[len(before) :] if whole.startswith(before) else plain(list(ids))


class Reference:
    """A model in float32, as the library loads it by itself."""

    def __init__(self, folder: Path, context_tokens: int | None = None) -> None:
        from transformers import AutoModelForCausalLM

        self.words = Words(folder)
        self._network = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
        self._context = context_tokens or getattr(self._network.config, "max_position_embeddings", None)
        ends = getattr(getattr(self._network, "generation_config", None), "eos_token_id", None)
        self._ends = {self.words.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        knows = inspect.signature(self._network.forward).parameters
        self._without_cache = {"use_cache": False} if "use_cache" in knows else {}
        rope = getattr(self._network.config, "rope_parameters", None) or {}
        self._remembers_lengths = rope.get("rope_type") == "dynamic"
        # Continuations of a single token are scored after one and the same text.
        self.log_probabilities = lru_cache(maxsize=4)(self._log_probabilities)
        # An answer with stop texts goes the same way as the one without.
        self.next = cache(self._next)

    def _log_probabilities(self, ids: tuple[int, ...]) -> Any:
        """Of every next token after each token; shape (token, vocabulary), float64."""
        import torch

        with torch.inference_mode():
            if self._remembers_lengths:  # until a short text makes it forget
                self._read(ids[:1])
            return self._read(ids).logits[0].double().log_softmax(-1)

    def _read(self, ids: tuple[int, ...]) -> Any:
        import torch

        return self._network(torch.tensor([ids]), **self._without_cache)

    def sum(self, ids: Sequence[int], start: int) -> float:
        """Log-probability of ids[start:] after ids[:start]."""
        found = self.log_probabilities(tuple(ids[:-1]))
        return sum(found[at - 1, ids[at]].item() for at in range(start, len(ids)))

    def _next(self, ids: tuple[int, ...]) -> tuple[int, float]:
        """The likeliest token after `ids`, and by how many nats."""
        two = self.log_probabilities(ids)[-1].topk(2)
        return two.indices[0].item(), (two.values[0] - two.values[1]).item()

    def answer(self, request: Request, generation: Generation) -> Expected:
        """Greedy, whatever the generation's temperature."""
        of_kind = {"generate": self._written, "choices": self._choices, "perplexity": self._texts}[request.kind]
        for shots in range(len(request.shots), -1, -1):
            try:
                return of_kind(request, generation, shots)
            except TooLong:
                continue
        return UNANSWERABLE

    def _check_fit(self, tokens: int) -> None:
        if self._context is not None and tokens > self._context:
            raise TooLong

    def _choices(self, request: Request, generation: Generation, shots: int) -> Expected:
        pairs = [self.words.pair(request, shots, continuation) for continuation in request.continuations]
        if not all(pair.continuation for pair in pairs):
            return UNANSWERABLE
        self._check_fit(max(len(pair.prompt) + len(pair.continuation) for pair in pairs))
        likelihoods = [
            Likelihood(
                self.sum([*pair.prompt, *pair.continuation], len(pair.prompt)),
                len(pair.continuation),
                len(continuation.encode()),
            )
            for pair, continuation in zip(pairs, request.continuations, strict=True)
        ]
        read = {tuple(pair.prompt + pair.continuation)[:-1] for pair in pairs}
        return Expected(shots, len(pairs[0].prompt), tuple(likelihoods), sequences=tuple(map(len, read)))

    def _texts(self, request: Request, generation: Generation, shots: int) -> Expected:
        prompt, encode = self.words.prompt(request, shots)
        texts = [prompt + (c.lstrip() if is_chat(request) else c) for c in request.continuations]
        all_ids = [encode(text) for text in texts]
        if len(texts) > 1 or request.shots:
            self._check_fit(max(map(len, all_ids)))
        if min(map(len, all_ids)) < 2:
            return UNANSWERABLE
        sums, lengths = [], []
        for ids in all_ids:
            step, total = self._context or len(ids), 0.0
            for start in range(1, len(ids), step):
                end = min(start + step, len(ids))
                begin = max(0, end - 1 - step)
                total += self.sum(ids[begin:end], start - begin)
                lengths.append(end - 1 - begin)
            sums.append(total)
        likelihoods = [
            Likelihood(total, len(ids), len(text.encode()))
            for total, ids, text in zip(sums, all_ids, texts, strict=True)
        ]
        return Expected(shots, sum(map(len, all_ids)), tuple(likelihoods), sequences=tuple(lengths))

    def _written(self, request: Request, generation: Generation, shots: int) -> Expected:
        prompt_text, encode = self.words.prompt(request, shots)
        prompt = encode(prompt_text) or self.words.first()
        self._check_fit(len(prompt) + generation.max_tokens)
        control = self.words.tokenizer.get_added_vocab()
        ends = self._ends | {control[stop] for stop in generation.stop if stop in control}
        ids, margin, finish = [], math.inf, "length"
        while len(ids) < generation.max_tokens and finish == "length":
            token, ahead = self.next((*prompt, *ids))
            ids.append(token)
            margin = min(margin, ahead)
            text = self.words.text_after(prompt, ids)
            if ids[-1] in ends or any(stop in text for stop in generation.stop):
                finish = "stop"
        text = self.words.text_after(prompt, ids[:-1] if ids[-1] in ends else ids)
        cut = min((text.index(stop) for stop in generation.stop if stop in text), default=len(text))
        return Expected(shots, len(prompt), (), text[:cut], len(ids), finish, margin, sequences=(len(prompt),))
