"""Models that the `transformers` library loads, from a folder or the hub, on this machine.

This file stays light: torch and transformers are imported by `open`, in the files beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self, cast

from llm_eval.backends import Extra, weights
from llm_eval.backends.transformers.check import check_pair
from llm_eval.backends.workplace import Workplace
from llm_eval.fingerprint import fingerprint
from llm_eval.prompts import chat_prompt, is_chat, text_prompt
from llm_eval.records import Request, RequestKind, Response
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, DatasetSpec, Generation, ModelSpec, TransformersBackend

if TYPE_CHECKING:
    from llm_eval.backends.transformers.answering import Answerer


class TransformersModel:
    """One loaded model."""

    kinds: ClassVar[frozenset[RequestKind]] = frozenset({"generate", "choices", "perplexity"})
    extras: ClassVar[frozenset[Extra]] = frozenset()

    def __init__(self, answerer: Answerer) -> None:
        self._answerer: Answerer | None = answerer

    @classmethod
    def identity(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: str, settings: Settings) -> str:
        """Weights, adapter, tokenizer and whatever else changes answers; not devices. Raises MissingWeights."""
        spec = cast(TransformersBackend, model.backend)
        found = weights.places(model, checkpoint, settings)
        return fingerprint(
            weights.identity(found.model),
            weights.identity(found.tokenizer),
            *([weights.identity(found.adapter)] if found.adapter is not None else []),
            spec.dtype,
            spec.trust_remote_code,
            model.context_tokens,  # decides how many examples fit
        )

    @classmethod
    def check(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: DatasetSpec, settings: Settings) -> None:
        """Reads the model's config and the heads of its files. Errors as `open` has them, and UnsupportedRequest."""
        check_pair(model, checkpoint, dataset, settings)

    @classmethod
    def raw_prompt(
        cls, model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings, request: Request
    ) -> str | None:
        """The tokenizer's own chat template over the conversation, or the plain text. Errors as `open` has them."""
        from llm_eval.backends.transformers.loading import load_tokens

        shots = len(request.shots)
        if not is_chat(request):
            return text_prompt(request, shots)
        return load_tokens(model, checkpoint, settings).conversation(chat_prompt(request, shots))

    @classmethod
    def open(
        cls,
        model: ModelSpec,
        checkpoint: Checkpoint | None,
        dataset: str,
        settings: Settings,
        place: Workplace | None = None,
    ) -> Self:
        """Load the weights onto their device.

        Raises MissingWeights, InvalidData for files that do not load, InputError for a device that is not there or a
        chat model without a chat template, BackendLost if the hub went away.
        """
        from llm_eval.backends.transformers import libraries

        libraries.for_models()  # before anything imports them as they are
        from llm_eval.backends.transformers.answering import Answerer
        from llm_eval.backends.transformers.engine.engine import engine
        from llm_eval.backends.transformers.loading import load

        loaded = load(model, checkpoint, settings)
        return cls(Answerer(loaded, engine(loaded, cast(TransformersBackend, model.backend), settings.memory_share)))

    def answer(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """Answers as they are ready. The wall time of a pass is shared by the responses that it is for."""
        if self._answerer is None:
            raise ValueError("this model was closed")
        return self._answerer.answer(requests, generation)

    def peak_gpu_memory_bytes(self) -> int | None:
        """Sum of each GPU's own peak; None on a CPU."""
        import torch

        if not torch.cuda.is_available():
            return None
        return sum(torch.cuda.max_memory_allocated(device) for device in range(torch.cuda.device_count()))

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        if self._answerer is not None:
            self._answerer.release()
            self._answerer = None
