"""Requests as rows of tokens that fit the context: few-shot examples go first, from the end, one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

from llm_eval.backends.transformers.tokens import Pair, Tokens, Unanswerable
from llm_eval.prompts import chat_prompt, is_chat, text_prompt
from llm_eval.records import Request

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request to continue."""

    request: Request
    shots: int
    ids: list[int]


class Target(NamedTuple):
    """Tokens whose log-probabilities count towards continuation number `continuation`; the last one follows the row."""

    continuation: int
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Row:
    """One forward pass: what the model reads, and what is scored at its end. `question` numbers its question.

    An encoder-decoder reads with its decoder as many of the last inputs as a target has tokens, and first the others.
    """

    question: int
    inputs: list[int]
    targets: list[Target]


class Size(NamedTuple):
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Question:
    """A request to score. `sizes`: of each continuation, or of each whole text for kind perplexity."""

    request: Request
    shots: int
    input_tokens: int
    sizes: list[Size]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Encoder:
    """context_tokens: what prompt and answer must fit in; None for models without a limit.

    vocabulary: how many tokens the model has embeddings for.
    """

    tokens: Tokens
    context_tokens: int | None
    vocabulary: int

    def prompt(self, request: Request, max_tokens: int) -> Prompt:
        """Raises Unanswerable if prompt and `max_tokens` do not fit without any example."""

        def encode(shots: int) -> Prompt:
            return Prompt(request, shots, self.tokens.opening(self._prompt_ids(request, shots)))

        prompt = self._fitted(request, encode, lambda p: (len(p.ids), 0), max_tokens)
        self._check_vocabulary(prompt.ids)
        return prompt

    def question(self, request: Request, number: int) -> Question:
        """Raises Unanswerable if it does not fit without any example, or asks for nothing."""
        if not request.continuations:
            raise Unanswerable("the request has no continuations to score")
        if request.kind == "choices":
            return self._choices(request, number)
        if not self.tokens.scores_texts:
            raise Unanswerable("an encoder-decoder gives no probability to a text that it reads")
        return self._texts(request, number)

    def _choices(self, request: Request, number: int) -> Question:
        """One row per different input: continuations of a single token share theirs. All see the same examples."""

        def encode(shots: int) -> tuple[int, list[Pair]]:
            if is_chat(request):
                conversation = self.tokens.conversation(chat_prompt(request, shots))
                return shots, [self.tokens.chat_pair(conversation, c) for c in request.continuations]
            prompt = text_prompt(request, shots)
            return shots, [self.tokens.pair(prompt, c) for c in request.continuations]

        def longest(encoded: tuple[int, list[Pair]]) -> tuple[int, int]:
            return len(encoded[1][0].prompt), max(len(pair.continuation) for pair in encoded[1])

        shots, pairs = self._fitted(request, encode, longest)
        rows: dict[tuple[int, ...], Row] = {}
        for i, pair in enumerate(pairs):
            whole = pair.prompt + pair.continuation
            self._check_vocabulary(whole)
            row = rows.setdefault(tuple(whole[:-1]), Row(number, whole[:-1], []))
            row.targets.append(Target(i, pair.continuation))
        sizes = [Size(len(p.continuation), len(c.encode())) for p, c in zip(pairs, request.continuations, strict=True)]
        return Question(request, shots, len(pairs[0].prompt), sizes, list(rows.values()))

    def _texts(self, request: Request, number: int) -> Question:
        """Whole texts, for kind perplexity: every token that has one before it is scored; `sizes` counts them all.

        A single text without examples may be longer than the context: see `windows`.
        """

        def encode(shots: int) -> tuple[int, list[str], list[list[int]]]:
            if is_chat(request):
                prompt = self.tokens.conversation(chat_prompt(request, shots))
                texts = [prompt + c.lstrip() for c in request.continuations]
                return shots, texts, [self.tokens.of_bare(t) for t in texts]
            texts = [text_prompt(request, shots) + c for c in request.continuations]
            return shots, texts, [self.tokens.of_text(t) for t in texts]

        if len(request.continuations) == 1 and not request.shots:
            shots, texts, ids = encode(0)
        else:
            shots, texts, ids = self._fitted(request, encode, lambda e: (max(map(len, e[2])), 0))
        rows = []
        for i, whole in enumerate(ids):
            self._check_vocabulary(whole)
            if len(whole) < 2:
                raise Unanswerable(
                    f"the text {texts[i]!r} has {len(whole)} token(s); one that follows another is needed"
                )
            rows += [Row(number, w.inputs, [Target(i, w.targets)]) for w in windows(whole, self.context_tokens)]
        sizes = [Size(len(whole), len(text.encode())) for whole, text in zip(ids, texts, strict=True)]
        return Question(request, shots, sum(map(len, ids)), sizes, rows)

    def _prompt_ids(self, request: Request, shots: int) -> list[int]:
        if is_chat(request):
            return self.tokens.of_bare(self.tokens.conversation(chat_prompt(request, shots)))
        return self.tokens.of_text(text_prompt(request, shots))

    def _fitted(
        self, request: Request, encode: Callable[[int], E], sizes: Callable[[E], tuple[int, int]], answer: int = 0
    ) -> E:
        """`encode` of as many shots as fit beside `answer` more tokens. Raises Unanswerable if even none does.

        sizes: tokens of the prompt and of its longest continuation.
        """
        for shots in range(len(request.shots), -1, -1):
            encoded = encode(shots)
            prompt, own = sizes(encoded)
            needed = self.tokens.context_needed(prompt, own + answer)
            if self.context_tokens is None or needed <= self.context_tokens:
                return encoded
        beside = f" beside max_tokens {answer}" if answer else ""
        dropped = ", all examples left out" if request.shots else ""
        raise Unanswerable(
            f"prompt of {prompt + own} tokens does not fit the context of {self.context_tokens}{beside}{dropped}. "
            "Shorten it, lower generation.max_tokens, or raise context_tokens if the model allows it."
        )

    def _check_vocabulary(self, ids: Sequence[int]) -> None:
        # On a GPU the embedding look-up would fail for all requests to come, not only for this one.
        if ids and max(ids) >= self.vocabulary:
            raise Unanswerable(
                f"token {max(ids)} is outside the model's vocabulary of {self.vocabulary}: this tokenizer belongs to "
                "other weights. Check backend.tokenizer_path."
            )


class Window(NamedTuple):
    inputs: list[int]
    targets: list[int]


def windows(ids: Sequence[int], context_tokens: int | None) -> list[Window]:
    """Every token but the first exactly once a target, each window reading at most `context_tokens`.

    All but the last read what the one before did not; the last reaches back as far as it can.
    Source: lm-evaluation-harness, `get_rolling_token_windows` with a context of 1, the first token being the prefix.
    """
    step = context_tokens or len(ids)
    cuts = [*range(1, len(ids), step), len(ids)]
    return [Window(list(ids[max(0, end - 1 - step) : end - 1]), list(ids[start:end])) for start, end in pairwise(cuts)]
