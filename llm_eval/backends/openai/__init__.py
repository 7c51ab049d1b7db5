"""Models behind a server that speaks OpenAI's protocol: OpenAI itself, vLLM, SGLang, LMDeploy, `transformers serve` …

The server's own chat template and tokenizer apply; nothing is downloaded to start, and only `open` imports the SDK.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self, cast

from llm_eval.backends.openai.asking import Asker
from llm_eval.errors import UnsupportedRequest
from llm_eval.fingerprint import fingerprint
from llm_eval.records import Request, RequestKind, Response
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, DatasetSpec, Generation, ModelSpec, OpenAIBackend


class OpenAIModel:
    """Asks for many answers at once; see asking.py for what happens when the server is busy, broken or away."""

    kinds: ClassVar[frozenset[RequestKind]] = frozenset({"generate"})

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @classmethod
    def identity(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: str, settings: Settings) -> str:
        spec = cast(OpenAIBackend, model.backend)
        return fingerprint(sorted(spec.base_urls), spec.model, sorted(spec.omit), spec.extra_body)

    @classmethod
    def check(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: DatasetSpec, settings: Settings) -> None:
        if checkpoint is not None:
            raise UnsupportedRequest(
                f"model {model.name!r}: a server answers with the weights it was started with, so it has no checkpoint "
                f"{checkpoint.name!r}. Leave `checkpoints` out of the model's YAML."
            )

    @classmethod
    def raw_prompt(
        cls, model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings, request: Request
    ) -> str | None:
        return None

    @classmethod
    def open(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: str, settings: Settings) -> Self:
        return cls(Asker(cast(OpenAIBackend, model.backend), f"model {model.name!r}"))

    def answer(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        return self._asker.answers(requests, generation)

    def peak_gpu_memory_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        self._asker.close()
