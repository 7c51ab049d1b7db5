"""Requests in, responses out: encode window by window, ask the engine, and put together again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from llm_eval.backends.transformers.encoding import Encoder, Question
from llm_eval.backends.transformers.engine.drafts import Task
from llm_eval.backends.transformers.engine.engine import Engine
from llm_eval.backends.transformers.engine.scoring import Scored
from llm_eval.backends.transformers.loading import NO_MEMORY, NOT_FINITE, Loaded
from llm_eval.backends.transformers.tokens import Unanswerable
from llm_eval.records import Likelihood, Request, Response
from llm_eval.specs import Generation

# Prefixes are shared within a window: enough requests to find them, few enough to hold their tokens and to answer soon.
_WINDOW = 1024


@dataclass(slots=True)
class Tally:
    """The scores of one question, as its rows come in."""

    question: Question
    rows_left: int
    logprobs: list[float]
    prefill_tokens: int = 0
    seconds: float = 0.0
    error: str | None = None

    @classmethod
    def of(cls, question: Question) -> Tally:
        return cls(question, len(question.rows), [0.0] * len(question.sizes))

    def count(self, scored: Scored) -> None:
        self.rows_left -= 1
        self.prefill_tokens += scored.prefill_tokens
        self.seconds += scored.seconds
        if scored.sums is None:
            self.error = NO_MEMORY
            return
        for target, logprob in zip(scored.row.targets, scored.sums, strict=True):
            self.logprobs[target.continuation] += logprob

    def response(self) -> Response:
        question = self.question
        if self.error is None and not all(map(math.isfinite, self.logprobs)):
            self.error = NOT_FINITE
        if self.error is not None:
            return _failed(question.request, self.error)
        likelihoods = tuple(
            Likelihood(logprob, size.tokens, size.bytes)
            for logprob, size in zip(self.logprobs, question.sizes, strict=True)
        )
        return Response(
            question.request.id,
            likelihoods=likelihoods,
            shots=question.shots,
            input_tokens=question.input_tokens,
            prefill_tokens=self.prefill_tokens,
            reused_tokens=sum(len(row.inputs) for row in question.rows) - self.prefill_tokens,
            finish_reason="scored",
            latency_seconds=self.seconds,
            prefill_seconds=self.seconds,
        )


@dataclass(slots=True)
class Answerer:
    """A loaded model, its tokenizer's rules and its engine."""

    loaded: Loaded
    engine: Engine
    _encoder: Encoder = field(init=False)

    def __post_init__(self) -> None:
        self._encoder = Encoder(self.loaded.tokens, self.loaded.context_tokens, self.loaded.vocabulary)

    def answer(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """Every response once; those to questions first, in the order in which they come."""
        scored = [request for request in requests if request.kind != "generate"]
        for begin in range(0, len(scored), _WINDOW):
            yield from self._scored(scored[begin : begin + _WINDOW], generation)
        yield from self._written([request for request in requests if request.kind == "generate"], generation)

    def _written(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        failed: deque[Response] = deque()
        for response in self.engine.write(generation, self._windows(requests, generation, failed)):
            yield response
            while failed:
                yield failed.popleft()
        yield from failed

    def _windows(
        self, requests: Sequence[Request], generation: Generation, failed: deque[Response]
    ) -> Iterator[list[Task]]:
        """Encoded as the engine asks for them; what cannot be encoded goes to `failed`."""
        step = max(_WINDOW // generation.attempts, 1)
        for begin in range(0, len(requests), step):
            tasks: list[Task] = []
            for request in requests[begin : begin + step]:
                try:
                    prompt = self._encoder.prompt(request, generation.max_tokens)
                except Unanswerable as error:
                    failed.extend(_every_attempt(_failed(request, str(error)), generation))
                else:
                    tasks += [Task(prompt, attempt) for attempt in range(generation.attempts)]
            if tasks:
                yield tasks

    def _scored(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """Likelihoods are the same at every attempt: computed once, given for each."""
        tallies: dict[int, Tally] = {}
        for number, request in enumerate(requests):
            try:
                tallies[number] = Tally.of(self._encoder.question(request, number))
            except Unanswerable as error:
                yield from _every_attempt(_failed(request, str(error)), generation)
        rows = [row for tally in tallies.values() for row in tally.question.rows]
        for scored in self.engine.score(rows):
            tally = tallies[scored.row.question]
            tally.count(scored)
            if tally.rows_left == 0:
                yield from _every_attempt(tally.response(), generation)

    def release(self) -> None:
        """Let go of the model; its memory is free once nothing else holds it."""
        import gc

        import torch

        if self.loaded.lease is not None:
            self.loaded.lease.release()
        del self.loaded, self.engine
        if torch.cuda.is_available():
            gc.collect()  # modules may refer to each other in circles
            torch.cuda.empty_cache()


def _failed(request: Request, error: str) -> Response:
    return Response(request.id, finish_reason="error", error=error)


def _every_attempt(response: Response, generation: Generation) -> Iterator[Response]:
    """The first one tells what it cost, the others cost nothing."""
    yield response
    free = replace(response, prefill_tokens=0, reused_tokens=0, latency_seconds=0.0, prefill_seconds=0.0)
    yield from (replace(free, attempt=attempt) for attempt in range(1, generation.attempts))
