"""An answer while it is written."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import NamedTuple

from llm_eval.backends.transformers.encoding import Prompt
from llm_eval.backends.transformers.engine.sampling import Stops
from llm_eval.backends.transformers.tokens import Tokens
from llm_eval.records import FinishReason, Response
from llm_eval.specs import Generation


class Task(NamedTuple):
    """One answer to write."""

    prompt: Prompt
    attempt: int


@dataclass(slots=True, eq=False)
class Draft:
    """`draws` depend on request and attempt only, never on the neighbours. Seconds are shares of the wall time."""

    task: Task
    draws: random.Random
    drawn: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    finish: FinishReason | None = None
    error: str | None = None
    prefill_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    @classmethod
    def of(cls, task: Task, generation: Generation) -> Draft:
        return cls(task, random.Random(f"{generation.seed} {task.prompt.request.id} {task.attempt}"))

    @property
    def all_ids(self) -> list[int]:
        return self.task.prompt.ids + self.ids

    def add(self, token: int, stops: Stops, tokens: Tokens, max_tokens: int) -> None:
        """One more token, which may be the last."""
        self.ids.append(token)
        if token in stops.ids or stops.near_end(tokens, self.task.prompt.ids, self.ids):
            self.finish = "stop"
        elif len(self.ids) >= max_tokens:
            self.finish = "length"

    def draw(self) -> float:
        """For the token that comes next, in [0, 1); the same one if it is chosen again."""
        while len(self.drawn) <= len(self.ids):
            self.drawn.append(self.draws.random())
        return self.drawn[len(self.ids)]

    def fail(self, error: str) -> None:
        self.finish, self.error = "error", error

    def response(self, stops: Stops, tokens: Tokens) -> Response:
        prompt, attempt = self.task
        if self.error is not None:
            return Response(prompt.request.id, attempt, finish_reason="error", error=self.error)
        assert self.finish is not None
        written = self.ids[:-1] if self.ids[-1] in stops.ids else self.ids
        return Response(
            prompt.request.id,
            attempt,
            text=stops.cut(tokens.decode(prompt.ids, written)),
            shots=prompt.shots,
            input_tokens=len(prompt.ids),
            output_tokens=len(self.ids),
            prefill_tokens=self.prefill_tokens,
            reused_tokens=max(len(prompt.ids) - self.prefill_tokens, 0),  # one that was put back was read twice
            finish_reason=self.finish,
            latency_seconds=self.prefill_seconds + self.decode_seconds,
            prefill_seconds=self.prefill_seconds,
        )
