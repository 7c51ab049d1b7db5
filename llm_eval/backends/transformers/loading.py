"""From a place on disk or on the hub to a model on its device."""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from llm_eval.backends.places import Place
from llm_eval.backends.transformers import adapters, config, devices, fit, libraries
from llm_eval.backends.transformers.check import check_model, no_template
from llm_eval.backends.transformers.devices import Device
from llm_eval.backends.transformers.explain import explained, is_out_of_memory
from llm_eval.backends.transformers.leases import Lease
from llm_eval.backends.transformers.tokens import EncoderDecoderTokens, Tokens
from llm_eval.backends.weights import Places, here, owner_of, places
from llm_eval.errors import InputError, InvalidData, RunFailed
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, ModelSpec, TransformersBackend

if TYPE_CHECKING:
    from torch import Tensor

_MISSING_SHOWN = 5


class Unpackable(Exception):
    """The model's attention is not of the kind that can be packed; the message says why."""


NO_MEMORY = "the device's memory is too small for this request even alone; lower context_tokens or use a larger device"
NOT_FINITE = "the model gave NaN or infinite logits; its weights are broken, or its dtype is too small for it"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to answer.

    device: where its inputs go. dtype: of its activations. end_ids: tokens that end an answer. context_tokens: None
    for a model without a limit. accepts: names of the arguments of its forward pass, `frame` where it hands others on
    to its attention. lease: of its GPU, to be released with it; None on the CPU.
    """

    name: str
    model: Any
    tokens: Tokens
    device: Any
    dtype: Any
    end_ids: frozenset[int]
    context_tokens: int | None
    vocabulary: int
    accepts: frozenset[str]
    lease: Lease | None = None

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether one half of the model reads prompts, and another one writes."""
        return bool(self.model.config.is_encoder_decoder)

    def forward(self, inputs: Tensor | None, **arguments: Any) -> Any:
        """One pass without gradients; arguments that the model's code does not know are left out.

        Raises RunFailed if that code breaks; a full memory and a failing accelerator pass through.
        """
        import torch

        known = {name: value for name, value in arguments.items() if name in self.accepts}
        try:
            with torch.inference_mode():
                return self.model(input_ids=inputs, **known)
        except Exception as error:
            if is_out_of_memory(error) or isinstance(error, torch.AcceleratorError | Unpackable):
                raise
            raise RunFailed(
                f"model {self.name!r}: its code failed ({type(error).__name__}: {error}). Code that a model brings "
                "along may be older than this version of transformers."
            ) from error


def load(model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings) -> Loaded:
    """The model of `model` or `checkpoint`. Errors as TransformersModel.open says."""
    found = check_model(model, checkpoint, settings)
    device = devices.chosen(cast(TransformersBackend, model.backend), owner_of(model, checkpoint))
    try:
        return _load(model, checkpoint, found, device)
    except BaseException:
        if device.lease is not None:
            device.lease.release()
        raise


def _load(model: ModelSpec, checkpoint: Checkpoint | None, found: Places, device: Device) -> Loaded:
    spec, owner = cast(TransformersBackend, model.backend), owner_of(model, checkpoint)
    tokenizer = _tokenizer(model, found.tokenizer, owner)
    found = replace(found, model=here(found.model, owner))
    fit.check(found, spec, device, owner)
    network = _network(found, spec, device, owner)
    return Loaded(
        name=model.name,
        model=network,
        tokens=_tokens(tokenizer, network, owner),
        device=network.get_input_embeddings().weight.device,
        dtype=network.dtype,
        end_ids=_end_ids(network, tokenizer),
        context_tokens=_context_tokens(model, network, owner),
        vocabulary=network.get_input_embeddings().weight.shape[0],
        accepts=_accepts(network),
        lease=device.lease,
    )


def _tokens(tokenizer: Any, network: Any, owner: str) -> Tokens:
    if not network.config.is_encoder_decoder:
        return Tokens(tokenizer)
    places = (getattr(network, "generation_config", None), network.config)
    for name in ("decoder_start_token_id", "bos_token_id"):  # in the order of transformers' own `generate`
        for start in (getattr(settings, name, None) for settings in places):
            if start is not None:
                return EncoderDecoderTokens(tokenizer, int(start))
    raise InvalidData(
        f"{owner}: config.json has neither decoder_start_token_id nor bos_token_id, so nobody knows what an answer of "
        "this encoder-decoder begins with. Add the one that it was trained with."
    )


def _accepts(network: Any) -> frozenset[str]:
    parameters = inspect.signature(network.forward).parameters
    hands_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return frozenset(parameters) | ({"frame"} if hands_on else set())


def load_tokens(model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings) -> Tokens:
    """The tokenizer alone. Errors as TransformersModel.open says."""
    return Tokens(_tokenizer(model, places(model, checkpoint, settings).tokenizer, owner_of(model, checkpoint)))


def _quiet() -> None:
    """Progress bars and notices only for someone who watches."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    libraries.for_tokens()
    if sys.stderr.isatty():
        return
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging as notices

    notices.set_verbosity_error()
    notices.disable_progress_bar()
    disable_progress_bars()


def _tokenizer(model: ModelSpec, place: Place, owner: str) -> Any:
    _quiet()
    from transformers import AutoTokenizer

    trusted = cast(TransformersBackend, model.backend).trust_remote_code
    try:
        tokenizer = AutoTokenizer.from_pretrained(place.address, revision=place.commit, trust_remote_code=trusted)
    except Exception as error:
        raise explained(error, f"{owner}: the tokenizer of {place}", place) from error
    if model.chat and not tokenizer.chat_template:
        raise InputError(no_template(place, owner))
    return tokenizer


def _network(found: Places, spec: TransformersBackend, device: Device, owner: str) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    place = found.model
    what = f"{owner}: {place}"
    has_encoder = (config.read(place, "config.json", owner) or {}).get("is_encoder_decoder")
    try:
        network, report = (AutoModelForSeq2SeqLM if has_encoder else AutoModelForCausalLM).from_pretrained(
            place.address,
            revision=place.commit,
            dtype=spec.dtype,
            # Straight to the GPU, tensor by tensor: this machine's memory need not hold them all.
            device_map={"": device.name} if (device.name or "").startswith("cuda") else spec.device_map,
            trust_remote_code=spec.trust_remote_code,
            output_loading_info=True,
        )
    except Exception as error:
        raise explained(error, what, place) from error
    # transformers fills what is missing with random numbers and goes on
    missing = sorted(report["missing_keys"])
    if missing:
        shown = ", ".join(missing[:_MISSING_SHOWN]) + (" …" if len(missing) > _MISSING_SHOWN else "")
        raise InvalidData(
            f"{what} lacks {len(missing)} weight(s) that config.json asks for: {shown}. The files are incomplete or "
            "belong to another model. Fetch them again."
        )
    if found.adapter is not None:
        network = adapters.merged(network, found.adapter, place, owner)
    _check_finite(network, what)
    return network.eval()


def _check_finite(network: Any, what: str) -> None:
    """Raises InvalidData for weights that can only give nonsense; one addition over each tells."""
    import torch

    for name, weight in network.named_parameters():
        if weight.is_meta or weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            continue
        if not torch.isfinite(weight.detach().sum(dtype=torch.float32)) and not torch.isfinite(weight).all():
            raise InvalidData(
                f"{what}: the weight {name} holds NaN or infinite numbers as {weight.dtype}. Its training went wrong, "
                "its file is corrupt, or backend.dtype is too small for it (bfloat16 has float32's range, float16 not)."
            )


def _end_ids(network: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: chat models list their end of turn in the generation config."""
    settings = getattr(network, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    listed = ends if isinstance(ends, list | tuple) else [ends]
    return frozenset(int(end) for end in (*listed, tokenizer.eos_token_id) if end is not None)


def _context_tokens(model: ModelSpec, network: Any, owner: str) -> int | None:
    its = network.config.get_text_config()
    own: int | None = getattr(its, "max_position_embeddings", None)
    asked = model.context_tokens
    # Rotary positions can be stretched; a table of learned ones ends where it ends.
    if asked is not None and own is not None and asked > own and not hasattr(its, "rope_parameters"):
        raise InputError(f"{owner}: context_tokens is {asked}, but the model has positions for {own} tokens only")
    return asked or own
