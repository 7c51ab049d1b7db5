"""The only code that meets a model. A backend is a file or folder here with a class that keeps `Backend`'s promises."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Protocol, Self, get_args

from llm_eval.backends.workplace import Workplace
from llm_eval.errors import UnsupportedRequest
from llm_eval.records import Request, RequestKind, Response
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, DatasetSpec, Generation, ModelSpec

Extra = Literal["json_schema", "top_logprobs"]
"""Fields of `Generation` that not every backend can do something about."""


class Backend(Protocol):
    """Answers requests. Opened once per shard, closed once; nothing heavy is imported before `open`."""

    kinds: ClassVar[frozenset[RequestKind]]
    extras: ClassVar[frozenset[Extra]]

    @classmethod
    def identity(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: str, settings: Settings) -> str:
        """A string that changes whenever the answers might: a hub commit, a folder's content, a file's hash.

        Loads nothing. Raises MissingWeights if what would answer is not there.
        """
        ...

    @classmethod
    def check(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: DatasetSpec, settings: Settings) -> None:
        """Refuse a pair that cannot be answered, as far as that can be told from files, quickly; loads nothing.

        Raises UnsupportedRequest, or whatever InputError `open` would raise.
        """
        ...

    @classmethod
    def raw_prompt(
        cls, model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings, request: Request
    ) -> str | None:
        """The prompt with all its shots as the model reads it, chat template applied; loads no weights.

        None for a backend that passes conversations on as they are.
        """
        ...

    @classmethod
    def open(
        cls,
        model: ModelSpec,
        checkpoint: Checkpoint | None,
        dataset: str,
        settings: Settings,
        place: Workplace | None = None,
    ) -> Self:
        """Load what answers. `place`: where the answers go; None: nowhere.

        Raises InputError for what no retry can mend, BackendLost for what one may.
        """
        ...

    def answer(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """One response for each request and attempt, as they come, in any order.

        A response never depends on which other requests are asked. A request that cannot be answered through no fault
        of the model comes back with `error` set; the rest goes on. Raises BackendLost when all is lost.
        """
        ...

    def peak_gpu_memory_bytes(self) -> int | None:
        """The most that this process's tensors have held on GPUs, all GPUs together; None where none is used."""
        ...

    def close(self) -> None: ...


# Strings, so that listing backends imports none of them.
_BACKENDS = {
    "transformers": "llm_eval.backends.transformers:TransformersModel",
    "openai": "llm_eval.backends.openai:OpenAIModel",
    "replay": "llm_eval.backends.replay:Replay",
    "scripted": "llm_eval.backends.scripted:Scripted",
}


def backend_of(model: ModelSpec) -> type[Backend]:
    """The class that answers for `model`, its light module imported."""
    module, _, name = _BACKENDS[model.backend.kind].partition(":")
    backend: type[Backend] = getattr(importlib.import_module(module), name)
    return backend


def check_specs(model: ModelSpec, dataset: DatasetSpec) -> None:
    """Raises UnsupportedRequest for a pair that cannot be answered, by what its two YAML files say."""
    kind, backend = dataset.prompt.kind, backend_of(model)
    if kind not in backend.kinds:
        raise UnsupportedRequest(
            f"model {model.name!r}: backend {model.backend.kind!r} cannot answer requests of kind {kind!r}, only "
            f"{', '.join(sorted(backend.kinds))}. Choose another variant of the dataset (llm-eval list datasets)."
        )
    extras: tuple[Extra, ...] = get_args(Extra)
    for extra in extras:
        if kind == "generate" and getattr(dataset.generation, extra) is not None and extra not in backend.extras:
            raise UnsupportedRequest(
                f"model {model.name!r}: backend {model.backend.kind!r} cannot do what generation.{extra} of dataset "
                f"{dataset.name!r} asks for. Leave it out, or ask a model behind a server (backend openai)."
            )
    check_context(model, dataset, model.context_tokens)


def check_context(model: ModelSpec, dataset: DatasetSpec, context_tokens: int | None) -> None:
    """Raises UnsupportedRequest if no prompt fits beside the answers that the dataset asks for; None: no limit."""
    tokens = dataset.generation.max_tokens
    if dataset.prompt.kind == "generate" and context_tokens is not None and tokens >= context_tokens:
        raise UnsupportedRequest(
            f"model {model.name!r}: dataset {dataset.name!r} asks for answers of up to {tokens} tokens "
            f"(generation.max_tokens), but prompt and answer must fit the model's context of {context_tokens}. Lower "
            "max_tokens, or raise context_tokens if the model allows it."
        )
