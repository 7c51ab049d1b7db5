"""Models behind a server that speaks OpenAI's protocol: OpenAI itself, vLLM, SGLang, LMDeploy, `transformers serve` …

The server's own chat template and tokenizer apply; nothing is downloaded to start, and only `open` imports the SDK.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self, cast

from llm_eval.backends import Extra
from llm_eval.backends.openai.asking import Asker
from llm_eval.backends.openai.batching import Batches
from llm_eval.backends.openai.endpoints import identity_of
from llm_eval.backends.openai.probe import check_likelihoods
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import UnsupportedRequest
from llm_eval.records import Request, RequestKind, Response
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, DatasetSpec, Generation, ModelSpec, OpenAIBackend


class OpenAIModel:
    """Asks for many answers at once; see asking.py for what happens when the server is busy, broken or away."""

    kinds: ClassVar[frozenset[RequestKind]] = frozenset({"generate", "choices", "perplexity"})
    extras: ClassVar[frozenset[Extra]] = frozenset({"json_schema", "top_logprobs"})

    def __init__(self, asker: Asker | Batches) -> None:
        self._asker = asker

    @classmethod
    def identity(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: str, settings: Settings) -> str:
        return identity_of(cast(OpenAIBackend, model.backend))

    @classmethod
    def check(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: DatasetSpec, settings: Settings) -> None:
        if checkpoint is not None:
            raise UnsupportedRequest(
                f"model {model.name!r}: a server answers with the weights it was started with, so it has no checkpoint "
                f"{checkpoint.name!r}. Leave `checkpoints` out of the model's YAML."
            )
        if dataset.prompt.kind != "generate":
            if cast(OpenAIBackend, model.backend).mode == "batch":
                raise UnsupportedRequest(
                    f"model {model.name!r}: log-likelihoods are not asked for in batches. Leave `mode: batch` out."
                )
            check_likelihoods(model, cast(OpenAIBackend, model.backend))
        elif dataset.generation.json_schema is not None and not model.chat:
            raise UnsupportedRequest(
                f"model {model.name!r}: dataset {dataset.name!r} asks for answers of a JSON schema, which servers give "
                "in chat completions only, and `chat` is false in the model's YAML"
            )

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
        spec, owner = cast(OpenAIBackend, model.backend), f"model {model.name!r}"
        if spec.mode == "requests":
            return cls(Asker(spec, owner, place))
        if place is None:
            raise UnsupportedRequest(f"{owner}: a batch needs a place for its notes, and there is none here")
        return cls(Batches(spec, owner, place))

    def answer(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        return self._asker.answers(requests, generation)

    def peak_gpu_memory_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        self._asker.close()
