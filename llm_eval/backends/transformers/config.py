"""What a model's own small files say about it: read before anything is loaded, without torch or transformers."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llm_eval.backends import hub
from llm_eval.backends.places import Place
from llm_eval.backends.weight_files import ADAPTER_CONFIG
from llm_eval.errors import InputError, InvalidData, UnsupportedRequest

# They have a head for writing, but each token sees the ones after it unless is_decoder is set.
_ENCODERS = re.compile(
    "bert|bert-generation|big_bird|camembert|data2vec-text|electra|ernie|megatron-bert|reformer|rembert|roberta|"
    "roberta-prelayernorm|roc_bert|roformer|xlm-roberta|xlm-roberta-xl|xmod"
)
_HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")  # the last: also of models that see pictures
# Class that loads them, table of those that transformers knows, and what messages call them.
_CAUSAL = ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "a causal language model")
_ENCODER_DECODER = (
    "AutoModelForSeq2SeqLM",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "an encoder-decoder from text to text",
)
_LEARNED_POSITIONS = re.compile(
    "bart|biogpt|blenderbot|blenderbot-small|codegen|gpt-sw3|gpt2|gpt_bigcode|gpt_neo|gptj|mbart|mvp|openai-gpt|opt|plbart"
)
_PACKAGES = {  # of quantisation methods, as transformers' quantizers ask for them
    "aqlm": ("aqlm",),
    "auto-round": ("auto-round",),
    "awq": ("gptqmodel",),
    "bitsandbytes": ("bitsandbytes",),
    "compressed-tensors": ("compressed-tensors",),
    "eetq": ("kernels",),
    "gptq": ("optimum", "gptqmodel"),
    "hqq": ("hqq",),
    "quanto": ("optimum-quanto",),
    "torchao": ("torchao",),
    "vptq": ("vptq",),
}


def read(place: Place, name: str, owner: str) -> dict[str, Any] | None:
    """One of a place's JSON files; None if it has none of that name, or the hub went away. Raises InvalidData."""
    path = hub.fetched(place, name) if name in place.files else None
    if path is None:
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidData(f"{owner}: {path} is not readable JSON ({error}). Fetch it again.") from error
    if not isinstance(values, dict):
        raise InvalidData(f"{owner}: {path} is not a JSON object. Fetch it again.")
    return values


def check_architecture(config: dict[str, Any], what: str, trusted: bool) -> None:
    """Raises UnsupportedRequest for what does not write text, InputError for code that is not trusted."""
    kind, heads = config.get("model_type"), [str(a) for a in config.get("architectures") or ()]
    auto, table, called = _CAUSAL if not has_encoder(config) else _ENCODER_DECODER
    known = _names("modeling_auto.py", table)
    if auto in (config.get("auto_map") or {}):
        if not trusted and kind not in known:
            raise InputError(
                f"{what} brings its own code. Read it, and if you trust it set backend.trust_remote_code: true."
            )
        if trusted:
            return
    if known and kind is not None and kind not in known:
        if kind in _names("auto_mappings.py", "CONFIG_MAPPING_NAMES"):
            raise UnsupportedRequest(f"{what} is not {called}: its model_type is {kind!r}.")
        raise UnsupportedRequest(
            f"{what} has model_type {kind!r}, which transformers {version('transformers')} does not know. "
            "Correct config.json, or use a version of transformers that knows it."
        )
    if heads and not any(head.endswith(_HEADS) or head in known.values() for head in heads):
        raise UnsupportedRequest(
            f"{what} is not {called}: config.json names {', '.join(heads)}, which cannot write text or "
            "score it token by token."
        )
    if kind is not None and _ENCODERS.fullmatch(kind) and not config.get("is_decoder"):
        raise UnsupportedRequest(f"{what} is an encoder: its model_type is {kind!r}, and is_decoder is not set.")


def has_encoder(config: dict[str, Any]) -> bool:
    """Whether it is an encoder-decoder: one half reads the prompt, another one writes the answer."""
    return bool(config.get("is_encoder_decoder"))


@cache
def _names(file: str, variable: str) -> dict[str, str]:
    """A table of transformers' auto classes, model_type → class; {} if this version writes it otherwise.

    Read from the source text: importing it would import torch.
    """
    package = find_spec("transformers")
    if package is None or package.origin is None:
        return {}
    path = Path(package.origin).parent / "models" / "auto" / file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    table = re.search(rf"^{variable} = OrderedDict\($(.*?)^\)$", text, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r'\("([^"]+)", "([^"]+)"\)', table[1])) if table else {}


def quantisation(config: dict[str, Any]) -> str | None:
    """The method by which the weights are quantised; None if they are not."""
    values = config.get("quantization_config") or {}
    method: str | None = values.get("quant_method")
    if method is None and (values.get("load_in_4bit") or values.get("load_in_8bit")):
        return "bitsandbytes"
    return method


def check_packages(config: dict[str, Any], what: str) -> None:
    """Raises InputError if the weights are quantised by a method whose packages are not installed here."""
    method = quantisation(config)
    missing = [name for name in _PACKAGES.get(method or "", ()) if not _is_installed(name)]
    if missing:
        raise InputError(
            f"{what} is quantised ({method}), which needs packages that are not installed: {', '.join(missing)}. "
            f"Run `pip install {' '.join(missing)}`, or name the unquantised model."
        )


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def check_adapter(place: Place, owner: str) -> None:
    """Raises InputError for an adapter of a kind that cannot answer; its tensors are not looked at."""
    values = read(place, ADAPTER_CONFIG, owner)
    if values is None:
        return
    task = values.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        raise InputError(f"{owner}: the adapter {place} was trained for task_type {task!r}; only CAUSAL_LM can answer.")
    kind = str(values.get("peft_type"))
    if "PROMPT" in kind or kind in ("PREFIX_TUNING", "P_TUNING", "CPT", "CARTRIDGE"):
        raise InputError(
            f"{owner}: the adapter {place} is of type {kind}: tokens put before each prompt, which cannot be merged "
            "into weights. Only adapters that change weights (LoRA and its kin) can be laid over a model."
        )


def dtype(config: dict[str, Any]) -> str | None:
    """What `dtype: auto` stands for; None if config.json does not say."""
    for values in (config, _of_text(config)):
        found = values.get("dtype") or values.get("torch_dtype")
        if isinstance(found, str):
            return found
    return None


def positions(config: dict[str, Any]) -> int | None:
    """Tokens that the model was made for; None if config.json does not say.

    Positions relative to each other, as T5's, have no end: its n_positions is the length that it was trained with.
    """
    if "relative_attention_num_buckets" in config:
        return None
    for values in (_of_text(config), config):
        for key in ("max_position_embeddings", "n_positions"):
            if isinstance(values.get(key), int):
                return int(values[key])
    return None


def are_positions_learned(config: dict[str, Any]) -> bool:
    """Whether they come from a table that ends where it ends, and cannot be stretched as rotary ones can."""
    return _LEARNED_POSITIONS.fullmatch(str(config.get("model_type"))) is not None


def _of_text(config: dict[str, Any]) -> dict[str, Any]:
    """The part about the language model, where others stand beside it."""
    nested = config.get("text_config")
    return nested if isinstance(nested, dict) else config


def lacks_chat_template(tokenizer: Place, owner: str) -> bool:
    """Whether there is certainly none: a tokenizer with code of its own may bring one that is not in its files."""
    if "chat_template.jinja" in tokenizer.files:
        return False
    values = read(tokenizer, "tokenizer_config.json", owner)
    if values is None:
        return "tokenizer_config.json" not in tokenizer.files
    return not values.get("chat_template") and "auto_map" not in values
