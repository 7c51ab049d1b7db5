"""Canned answers for tests and dry runs: reproducible, weightless, with faults on demand."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self, cast

from llm_eval.backends import Extra
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import BackendLost
from llm_eval.fingerprint import fingerprint
from llm_eval.prompts import chat_prompt, is_chat, text_prompt
from llm_eval.records import Likelihood, Request, RequestKind, Response
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, DatasetSpec, Generation, ModelSpec, ScriptedBackend


class Scripted:
    """Answers picked by a hash of request and attempt, so that order, shards and retries change nothing."""

    kinds: ClassVar[frozenset[RequestKind]] = frozenset({"generate", "choices", "perplexity"})
    extras: ClassVar[frozenset[Extra]] = frozenset({"json_schema"})  # it says what it says

    def __init__(self, spec: ScriptedBackend) -> None:
        self.spec = spec
        self.answered = 0

    @classmethod
    def identity(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: str, settings: Settings) -> str:
        spec = cast(ScriptedBackend, model.backend)
        return fingerprint(spec.replies, spec.failing, checkpoint.name if checkpoint else None)

    @classmethod
    def check(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: DatasetSpec, settings: Settings) -> None:
        pass

    @classmethod
    def raw_prompt(
        cls, model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings, request: Request
    ) -> str | None:
        return None

    @classmethod
    def open(
        cls,
        model: ModelSpec,
        checkpoint: Checkpoint | None,
        dataset: str,
        settings: Settings,
        place: Workplace | None = None,
    ) -> Self:
        return cls(cast(ScriptedBackend, model.backend))

    def answer(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        for request in requests:
            for attempt in range(generation.attempts):
                yield self._reply(request, attempt)

    def _reply(self, request: Request, attempt: int) -> Response:
        if self.spec.lost_after is not None and self.answered >= self.spec.lost_after:
            raise BackendLost(f"the scripted backend went away after {self.spec.lost_after} replies, as its spec says")
        self.answered += 1
        self._note(request)
        time.sleep(self.spec.seconds_per_reply)
        if _unit_interval(f"fail {request.id} {attempt}") < self.spec.failing:
            return Response(request.id, attempt, finish_reason="error", error="scripted failure")
        length = _words(request)
        if request.kind == "generate":
            text = self.spec.replies[int(_unit_interval(f"{request.id} {attempt}") * len(self.spec.replies))]
            return Response(
                request.id,
                attempt,
                text,
                shots=len(request.shots),
                input_tokens=length,
                output_tokens=len(text.split()),
            )
        likelihoods = tuple(
            Likelihood(-10 * _unit_interval(f"{request.id} {i}"), len(c.split()) or 1, len(c.encode()))
            for i, c in enumerate(request.continuations)
        )
        return Response(
            request.id,
            attempt,
            likelihoods=likelihoods,
            shots=len(request.shots),
            input_tokens=length,
            finish_reason="scored",
        )

    def _note(self, request: Request) -> None:
        if self.spec.journal is not None:
            with open(self.spec.journal, "a") as journal:  # opened each time: several shards append to one file
                journal.write(request.id + "\n")

    def peak_gpu_memory_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        pass


def _words(request: Request) -> int:
    shots = len(request.shots)
    if is_chat(request):
        return sum(len(m.content.split()) for m in chat_prompt(request, shots))
    return len(text_prompt(request, shots).split())


def _unit_interval(text: str) -> float:
    """A number in [0, 1) that `text` alone decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
