"""Requests in, responses out: encode, sort, batch, and put together again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from llm_eval.backends.transformers.decoding import Task, write
from llm_eval.backends.transformers.encoding import Encoder, Question, Row
from llm_eval.backends.transformers.likelihood import log_likelihoods
from llm_eval.backends.transformers.loading import NOT_FINITE, Loaded
from llm_eval.backends.transformers.memory import Batcher
from llm_eval.backends.transformers.tokens import Unanswerable
from llm_eval.records import Likelihood, Request, Response
from llm_eval.specs import Generation

# Sorted by length among themselves: enough to pad little, few enough to hold their tokens and to answer soon.
_BATCHES_IN_A_WINDOW = 64
_NO_MEMORY = "the device's memory is too small for this request even alone; lower context_tokens or use a larger device"


@dataclass(slots=True)
class Tally:
    """The scores of one question, as its rows come in."""

    question: Question
    rows_left: int
    logprobs: list[float] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None

    @classmethod
    def of(cls, question: Question) -> Tally:
        return cls(question, len(question.rows), [0.0] * len(question.sizes))

    def count(self, row: Row, sums: list[float] | None, seconds: float) -> None:
        """Add a row's sums, one per target; None if there was no memory for it."""
        self.rows_left -= 1
        self.seconds += seconds
        if sums is None:
            self.error = _NO_MEMORY
            return
        for target, logprob in zip(row.targets, sums, strict=True):
            self.logprobs[target.continuation] += logprob

    def response(self) -> Response:
        request = self.question.request
        if self.error is None and not all(map(math.isfinite, self.logprobs)):
            self.error = NOT_FINITE
        if self.error is not None:
            return _failed(request, self.error)
        likelihoods = tuple(
            Likelihood(logprob, size.tokens, size.bytes)
            for logprob, size in zip(self.logprobs, self.question.sizes, strict=True)
        )
        return Response(
            request.id,
            likelihoods=likelihoods,
            shots=self.question.shots,
            input_tokens=self.question.input_tokens,
            finish_reason="scored",
            latency_seconds=self.seconds,
        )


class Answerer:
    """A loaded model and its batches."""

    def __init__(self, loaded: Loaded, batch_size: int) -> None:
        self._loaded = loaded
        self._batches = Batcher(batch_size)
        self._encoder = Encoder(loaded.tokens, loaded.context_tokens, loaded.vocabulary)

    def answer(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        window = self._batches.size * _BATCHES_IN_A_WINDOW
        for begin in range(0, len(requests), window):
            some = requests[begin : begin + window]
            yield from self._written([r for r in some if r.kind == "generate"], generation)
            yield from self._scored([r for r in some if r.kind != "generate"], generation)

    def _written(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        tasks: list[Task] = []
        for request in requests:
            try:
                prompt = self._encoder.prompt(request, generation.max_tokens)
            except Unanswerable as error:
                yield from _every_attempt(_failed(request, str(error)), generation)
            else:
                tasks += [Task(prompt, attempt) for attempt in range(generation.attempts)]
        work = partial(write, self._loaded, generation)
        for batch in self._batches.run(tasks, lambda t: len(t.prompt.ids), work):
            if batch.answers is None:
                yield from (replace(_failed(t.prompt.request, _NO_MEMORY), attempt=t.attempt) for t in batch.rows)
            else:
                share = batch.seconds / len(batch.rows)
                yield from (replace(response, latency_seconds=share) for response in batch.answers)

    def _scored(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """Likelihoods are the same at every attempt: computed once, given for each."""
        tallies: dict[int, Tally] = {}
        for number, request in enumerate(requests):
            try:
                tallies[number] = Tally.of(self._encoder.question(request, number))
            except Unanswerable as error:
                yield from _every_attempt(_failed(request, str(error)), generation)
        rows = [row for tally in tallies.values() for row in tally.question.rows]
        for batch in self._batches.run(rows, lambda r: len(r.inputs), partial(log_likelihoods, self._loaded)):
            for i, row in enumerate(batch.rows):
                tally = tallies[row.question]
                tally.count(row, batch.answers[i] if batch.answers else None, batch.seconds / len(batch.rows))
                if tally.rows_left == 0:
                    yield from _every_attempt(tally.response(), generation)

    def release(self) -> None:
        """Let go of the model; its memory is free once nothing else holds it."""
        import gc

        import torch

        del self._loaded
        if torch.cuda.is_available():
            gc.collect()  # modules may refer to each other in circles
            torch.cuda.empty_cache()


def _failed(request: Request, error: str) -> Response:
    return Response(request.id, finish_reason="error", error=error)


def _every_attempt(response: Response, generation: Generation) -> Iterator[Response]:
    return (replace(response, attempt=attempt) for attempt in range(generation.attempts))
