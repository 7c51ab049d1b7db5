"""From a place on disk or on the hub to a model on its device."""

from __future__ import annotations

import inspect
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llm_eval.backends.transformers.memory import is_out_of_memory
from llm_eval.backends.transformers.tokens import Tokens
from llm_eval.backends.weights import Place, places
from llm_eval.errors import BackendLost, InputError, InvalidData, LlmEvalError, RunFailed
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, ModelSpec, TransformersBackend

if TYPE_CHECKING:
    from torch import Tensor

_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d+))?")
_MISSING_SHOWN = 5

NOT_FINITE = "the model gave NaN or infinite logits; its weights are broken, or its dtype is too small for it"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to answer.

    device: where its inputs go. end_ids: tokens that end an answer. context_tokens: None for a model without a limit.
    accepts: names of the arguments of its forward pass.
    """

    name: str
    model: Any
    tokens: Tokens
    device: Any
    end_ids: frozenset[int]
    context_tokens: int | None
    vocabulary: int
    accepts: frozenset[str]

    def forward(self, inputs: Tensor, **arguments: Any) -> Any:
        """One pass without gradients; arguments that the model's code does not know are left out.

        Raises RunFailed if that code breaks; a full memory and a failing accelerator pass through.
        """
        import torch

        known = {name: value for name, value in arguments.items() if name in self.accepts}
        try:
            with torch.inference_mode():
                return self.model(input_ids=inputs, **known)
        except Exception as error:
            if is_out_of_memory(error) or isinstance(error, torch.AcceleratorError):
                raise
            raise RunFailed(
                f"model {self.name!r}: its code failed ({type(error).__name__}: {error}). Code that a model brings "
                "along may be older than this version of transformers."
            ) from error


def load(model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings) -> Loaded:
    """The model of `model` or `checkpoint`. Errors as TransformersModel.open says."""
    spec = cast(TransformersBackend, model.backend)
    owner = _owner(model, checkpoint)
    device = _device(spec, owner)
    tokenizer = _tokenizer(model, checkpoint, settings)
    network = _network(places(model, checkpoint, settings).model, spec, device, owner)
    return Loaded(
        name=model.name,
        model=network,
        tokens=Tokens(tokenizer),
        device=network.get_input_embeddings().weight.device,
        end_ids=_end_ids(network, tokenizer),
        context_tokens=_context_tokens(model, network, owner),
        vocabulary=network.get_input_embeddings().weight.shape[0],
        accepts=frozenset(inspect.signature(network.forward).parameters),
    )


def load_tokens(model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings) -> Tokens:
    """The tokenizer alone. Errors as TransformersModel.open says."""
    return Tokens(_tokenizer(model, checkpoint, settings))


def _owner(model: ModelSpec, checkpoint: Checkpoint | None) -> str:
    return f"model {model.name!r}" + (f", checkpoint {checkpoint.name!r}" if checkpoint else "")


def _device(spec: TransformersBackend, owner: str) -> str:
    import torch

    match = _DEVICE.fullmatch(spec.device)
    if match is None:
        raise InputError(f"{owner}: backend.device is {spec.device!r}; allowed: auto, cpu, cuda, cuda:0, cuda:1, …")
    if spec.device_map is not None and spec.device != "auto":
        raise InputError(f"{owner}: backend.device and backend.device_map are both given; leave one of them out")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if spec.device == "auto":
        return "cuda" if there else "cpu"
    if spec.device.startswith("cuda") and int(match[1] or 0) >= there:
        raise InputError(
            f"{owner}: backend.device is {spec.device!r}, but torch {torch.__version__} sees {there} CUDA device(s). "
            "Set `device: auto`, run where there is a GPU, or install a torch built for CUDA."
        )
    return spec.device


def _quiet() -> None:
    """Progress bars and notices only for someone who watches."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if sys.stderr.isatty():
        return
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()


def _tokenizer(model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings) -> Any:
    _quiet()
    from transformers import AutoTokenizer

    spec, owner = cast(TransformersBackend, model.backend), _owner(model, checkpoint)
    place = places(model, checkpoint, settings).tokenizer
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            place.address, revision=place.commit, trust_remote_code=spec.trust_remote_code
        )
    except Exception as error:
        raise _explained(error, f"{owner}: the tokenizer of {place}", place) from error
    if model.chat and not tokenizer.chat_template:
        raise InputError(
            f"{owner}: chat is true, but the tokenizer of {place} has no chat template. "
            "Set `chat: false` for plain prompts, or name a tokenizer that has one as backend.tokenizer_path."
        )
    return tokenizer


def _network(place: Place, spec: TransformersBackend, device: str, owner: str) -> Any:
    from transformers import AutoModelForCausalLM

    what = f"{owner}: {place}"
    try:
        network, report = AutoModelForCausalLM.from_pretrained(
            place.address,
            revision=place.commit,
            dtype=spec.dtype,
            device_map=spec.device_map,
            trust_remote_code=spec.trust_remote_code,
            output_loading_info=True,
        )
        if spec.device_map is None:
            network = network.to(device)
    except Exception as error:
        raise _explained(error, what, place) from error
    # transformers fills what is missing with random numbers and goes on
    missing = sorted(report["missing_keys"])
    if missing:
        shown = ", ".join(missing[:_MISSING_SHOWN]) + (" …" if len(missing) > _MISSING_SHOWN else "")
        raise InvalidData(
            f"{what} lacks {len(missing)} weight(s) that config.json asks for: {shown}. The files are incomplete or "
            "belong to another model. Fetch them again."
        )
    return network.eval()


def _explained(error: Exception, what: str, place: Place) -> LlmEvalError:
    """Why something did not load, in one message; which of many exception types says so differs between versions."""
    said = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {said[:400]}"
    if is_out_of_memory(error):
        return InputError(
            f"{what} does not fit the memory of its device ({reason}). Choose a smaller backend.dtype, another "
            "device, or device_map: auto."
        )
    if "trust_remote_code" in said:
        return InputError(
            f"{what} brings its own code. Read it, and if you trust it set backend.trust_remote_code: true."
        )
    if isinstance(error, ImportError):
        return InputError(f"{what} needs a package that is not installed ({reason})")
    if place.folder is None and _went_away(error):
        return BackendLost(f"{what}: the hub went away while its files were fetched ({reason})")
    return InvalidData(
        f"{what} cannot be loaded ({reason}). The files are corrupt, half-written, or not of a causal language model "
        "that this version of transformers knows. Fetch them again, or fix backend.path."
    )


def _went_away(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError) or "connect" in str(error).lower():
            return True
        error = error.__cause__ or error.__context__
    return False


def _end_ids(network: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: chat models list their end of turn in the generation config."""
    settings = getattr(network, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    listed = ends if isinstance(ends, list | tuple) else [ends]
    return frozenset(int(end) for end in (*listed, tokenizer.eos_token_id) if end is not None)


def _context_tokens(model: ModelSpec, network: Any, owner: str) -> int | None:
    config = network.config.get_text_config()
    own: int | None = getattr(config, "max_position_embeddings", None)
    asked = model.context_tokens
    # Rotary positions can be stretched; a table of learned ones ends where it ends.
    if asked is not None and own is not None and asked > own and not hasattr(config, "rope_parameters"):
        raise InputError(f"{owner}: context_tokens is {asked}, but the model has positions for {own} tokens only")
    return asked or own
