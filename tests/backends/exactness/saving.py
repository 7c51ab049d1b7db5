"""Folders of tiny models, as `from_pretrained` reads them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.backends.exactness.vocabularies import EOS, tokenizer
from tests.backends.exactness.zoo import SIZES, Animal

_SPREAD = 0.3  # standard deviation of weights: logits then differ by units, and so do predictions


def save(animal: Animal, folder: Path) -> None:
    """Write weights, config and tokenizer as `from_pretrained` reads them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    words = tokenizer(animal.vocabulary)
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.convert_tokens_to_ids(EOS), "pad_token_id": 0}
    sizes = SIZES if animal.has_usual_sizes else {}
    config = AutoConfig.for_model(animal.model_type, **{**sizes, **ids, "vocab_size": len(words), **animal.config})
    torch.manual_seed(zlib.crc32(folder.name.encode()))
    network = AutoModelForCausalLM.from_config(config)
    vary(network)
    network.save_pretrained(folder)
    words.save_pretrained(folder)


def save_reciting(folder: Path, vocabulary: str, first: int, ids: Sequence[int]) -> None:
    """A model that writes `ids`, all of them different, after `first`: what follows depends on the last token alone."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    assert len({first, *ids}) == len(ids) + 1
    words = tokenizer(vocabulary)
    width = -(-len(words) // 8) * 8
    config = LlamaConfig(
        **{**SIZES, "hidden_size": width, "num_hidden_layers": 1, "vocab_size": len(words), "head_dim": 8},
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        network.model.layers[0].self_attn.o_proj.weight.zero_()
        network.model.layers[0].mlp.down_proj.weight.zero_()
        network.model.embed_tokens.weight.copy_(torch.eye(len(words), width))
        network.lm_head.weight.zero_()
        for before, after in pairwise([first, *ids]):
            network.lm_head.weight[after, before] = 1.0
    network.save_pretrained(folder)
    words.save_pretrained(folder)


def vary(network: Any) -> None:
    """Random matrices, and biases and norms that are not 0 and 1: one that is left out must be noticed."""
    import torch

    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                weights.normal_(0.0, _SPREAD)
            else:
                weights.add_(torch.randn_like(weights), alpha=_SPREAD / 2)
