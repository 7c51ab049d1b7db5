"""Whether a model can answer a dataset: everything that can be refused before anything is loaded."""

from __future__ import annotations

from typing import cast

from llm_eval.backends import check_context, weight_files
from llm_eval.backends.places import Place
from llm_eval.backends.transformers import config
from llm_eval.backends.weight_files import ADAPTER_WEIGHTS
from llm_eval.backends.weights import Places, owner_of, places, weights_of
from llm_eval.errors import InputError, UnsupportedRequest
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, DatasetSpec, ModelSpec, TransformersBackend


def check_pair(model: ModelSpec, checkpoint: Checkpoint | None, dataset: DatasetSpec, settings: Settings) -> None:
    """Raises InputError for a model that cannot be loaded, UnsupportedRequest for a dataset it cannot answer."""
    found = check_model(model, checkpoint, settings)
    values = config.read(found.model, "config.json", owner_of(model, checkpoint))
    own = config.positions(values) if values is not None else None
    if dataset.prompt.kind == "perplexity" and values is not None and config.has_encoder(values):
        raise UnsupportedRequest(
            f"model {model.name!r}: {found.model} is an encoder-decoder, which gives no probability to the text "
            f"that it reads, and dataset {dataset.name!r} asks for just that (kind perplexity). Use a variant of "
            "it of kind choices or generate."
        )
    check_context(model, dataset, model.context_tokens or own)


def check_model(model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings) -> Places:
    """Where the model's files are. Raises MissingWeights, InvalidData and InputError for what could not be loaded."""
    spec, owner = cast(TransformersBackend, model.backend), owner_of(model, checkpoint)
    found = places(model, checkpoint, settings)
    what = f"{owner}: {found.model}"
    values = config.read(found.model, "config.json", owner)
    if values is not None:
        config.check_architecture(values, what, spec.trust_remote_code)
        _check_context(model, config.positions(values), config.are_positions_learned(values), owner)
        if model.run_on == "worker":  # a pod's image has packages of its own
            config.check_packages(values, what)
        if found.adapter is not None and (method := config.quantisation(values)) is not None:
            raise InputError(
                f"{what} is quantised ({method}), and an adapter cannot be merged into such weights exactly. Name the "
                "unquantised model as backend.path."
            )
    if model.chat and config.lacks_chat_template(found.tokenizer, owner):
        raise InputError(no_template(found.tokenizer, owner))
    _check_files(found.model, weights_of(found.model), owner)
    if found.adapter is not None:
        config.check_adapter(found.adapter, owner)
        _check_files(found.adapter, ADAPTER_WEIGHTS, owner)
    return found


def no_template(tokenizer: Place, owner: str) -> str:
    """The message for a chat model whose tokenizer has no chat template."""
    return (
        f"{owner}: chat is true, but the tokenizer of {tokenizer} has no chat template. "
        "Set `chat: false` for plain prompts, or name a tokenizer that has one as backend.tokenizer_path."
    )


def _check_context(model: ModelSpec, own: int | None, learned: bool, owner: str) -> None:
    if model.context_tokens is not None and own is not None and learned and model.context_tokens > own:
        raise InputError(
            f"{owner}: context_tokens is {model.context_tokens}, but the model has positions for {own} tokens only"
        )


def _check_files(place: Place, file: str | None, owner: str) -> None:
    """Where they are on this machine: whether they are whole."""
    if place.folder is not None and file is not None:
        weight_files.read(place.folder, file, owner)
