"""PEFT adapters (LoRA and its kin), merged into the weights that they were trained on.

Merged, not kept beside them: in float32 the answers are the same (to rounding), and the model stays one that the packed
path knows. What cannot be merged, such as a trained prompt, is refused.
"""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import Any

from llm_eval.backends import hub
from llm_eval.backends.places import Place
from llm_eval.backends.transformers import config
from llm_eval.backends.transformers.explain import explained, is_out_of_memory
from llm_eval.backends.weight_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, AGAIN
from llm_eval.errors import BackendLost, InputError, InvalidData

logger = logging.getLogger(__name__)

_PREFIX = "base_model.model."  # how peft calls the model that it has wrapped
_OTHER_SHAPE = re.compile(r"size mismatch for (\S+): .*?Size\(\[([^\]]*)\]\).*?Size\(\[([^\]]*)\]\)")


def merged(network: Any, place: Place, base: Place, owner: str) -> Any:
    """`network`, which must be that of `base`, with the adapter's changes in its weights, in their dtype.

    Raises InvalidData, naming the module, for an adapter of another model or one that is corrupt, InputError where
    weights are not all on GPUs or all on the CPU.
    """
    from peft import PeftConfig, PeftModel, load_peft_weights

    what = f"{owner}: the adapter {place}"
    elsewhere = {"cpu", "disk"} & {str(device) for device in (getattr(network, "hf_device_map", None) or {}).values()}
    if elsewhere:
        raise InputError(
            f"{what} cannot be merged: backend.device_map left some weights of {base} to {' and '.join(elsewhere)}, "
            "for want of room on the GPUs. Use more or larger GPUs, a smaller backend.dtype, or `device: cpu`."
        )
    folder = _folder(place, what)
    _warn_of_another_base(folder, base, what, owner)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of peft, about saving; what matters is checked below
            tensors = load_peft_weights(str(folder), device="cpu")  # the safetensors file, which is there
            _resize_vocabulary(network, tensors)
            wrapped = PeftModel(network, PeftConfig.from_pretrained(str(folder)))
            report = wrapped.load_adapter(str(folder), "default", torch_device="cpu")
            _check_complete(report, tensors, what, base)
            _untie(network)
            return wrapped.merge_and_unload(safe_merge=True)
    except InvalidData:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise explained(error, what, place) from error
        raise InvalidData(f"{what} cannot be laid over {base}: {_reason(error)}") from error


def _folder(place: Place, what: str) -> Path:
    """Where its two files are; nothing else of it is ever read, no pickle in particular."""
    paths = [hub.fetched(place, name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)]
    if paths[0] is None or paths[1] is None:
        raise BackendLost(f"{what}: the hub went away while its files were fetched")
    return paths[0].parent


def _warn_of_another_base(folder: Path, base: Place, what: str, owner: str) -> None:
    """A warning only: the same model has many names, such as the folder that it was trained in."""
    trained_on = str((config.read(Place.at(folder), ADAPTER_CONFIG, owner) or {}).get("base_model_name_or_path") or "")
    if trained_on and Path(trained_on).name.lower() != Path(base.address).name.lower():
        logger.warning(
            "%s was trained on %r and is laid over %s: is that the same model? Its shapes are checked, its numbers "
            "cannot be",
            what,
            trained_on,
            base,
        )


def _resize_vocabulary(network: Any, tensors: dict[str, Any]) -> None:
    """Training that added tokens has saved larger embeddings, and both of them where they share no weights."""
    first, last = network.get_input_embeddings(), network.get_output_embeddings()
    rows = _rows(network, first, tensors)
    if rows is None or rows == len(first.weight):
        return
    if last is not None and last.weight is not first.weight and _rows(network, last, tensors) != rows:
        raise ValueError(f"it has input embeddings of {rows} tokens, but not as many output embeddings")
    network.resize_token_embeddings(rows, mean_resizing=False)


def _rows(network: Any, embedding: Any, tensors: dict[str, Any]) -> int | None:
    """Of the embedding that the adapter brings whole; None if it brings none."""
    name = next(name for name, module in network.named_modules() if module is embedding)
    width = embedding.weight.shape[1]
    whole = (t for key, t in tensors.items() if key.startswith(f"{_PREFIX}{name}.") and key.endswith(".weight"))
    return next((len(tensor) for tensor in whole if tensor.shape[1:] == (width,)), None)


def _check_complete(report: Any, tensors: dict[str, Any], what: str, base: Place) -> None:
    # peft warns of either and goes on: with what is missing, the adapter would change nothing or half of it.
    if report.missing_keys:
        raise InvalidData(
            f"{what} lacks {len(report.missing_keys)} tensor(s) that {base} needs, the first for "
            f"{_module(report.missing_keys[0])}: it was trained on another model, or is incomplete. {AGAIN}"
        )
    # Of embeddings trained as a whole, peft may write a second copy.
    copied = {f"{key.removesuffix('.weight')}.modules_to_save.weight" for key in tensors}
    unknown = [key for key in report.unexpected_keys if key not in copied]
    if unknown:
        raise InvalidData(
            f"{what} changes {_module(unknown[0])}, which {base} does not have ({len(unknown)} tensor(s) in all): it "
            "was trained on another model. Correct backend.path."
        )


def _untie(network: Any) -> None:
    """Give the output embedding weights of its own where an adapter changes it or the input's, and they share them.

    Merged into shared weights, a change of either would be one of both.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    first, last = network.get_input_embeddings(), network.get_output_embeddings()
    if not any(isinstance(layer, BaseTunerLayer) for layer in (first, last)):
        return
    inner, outer = (getattr(layer, "base_layer", layer) for layer in (first, last))
    if outer is not None and inner.weight is outer.weight:
        outer.weight = nn.Parameter(outer.weight.detach().clone(), requires_grad=False)
        network.config.tie_word_embeddings = False


def _reason(error: Exception) -> str:
    """Which of many exception types says so differs between versions of peft."""
    said = " ".join(str(error).split())
    if found := _OTHER_SHAPE.search(said):
        return (
            f"its {_module(found[1])} has shape ({found[2]}) where the model's needs ({found[3]}). It was trained on "
            "another model, or adapter_config.json is of another adapter. Correct backend.path."
        )
    if "not found in the base model" in said:
        return f"{said.partition('.')[0]}. It was trained on another architecture. Correct backend.path."
    return f"{type(error).__name__}: {said[:300]}. It is corrupt, or of a newer version of peft. {AGAIN}"


def _module(key: str) -> str:
    """The tensor's name as the model has it."""
    return key.removeprefix(_PREFIX).replace(".default", "")
