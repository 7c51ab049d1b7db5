"""One tiny model of each architecture that computes something its own way, with weights whose predictions vary."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.backends.exactness.vocabularies import EOS, VOCABULARIES, tokenizer

CONTEXT_TOKENS = 256
WINDOW = 16  # tokens that a sliding window sees: less than nearly every prompt has
_SPREAD = 0.3  # standard deviation of weights: logits then differ by units, and so do predictions
_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT_TOKENS,
}
_MIXED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}


@dataclass(frozen=True)
class Animal:
    """config: what differs from `_SIZES`; own_sizes: nothing of them is known to this architecture.

    context_tokens: asked for in the spec, where it is more than what the config says.
    """

    model_type: str
    vocabulary: str
    config: dict[str, Any] = field(default_factory=dict)
    own_sizes: bool = False
    context_tokens: int | None = None


def _llama(vocabulary: str, **config: Any) -> Animal:
    return Animal("llama", vocabulary, config)


# What the packed path is for.
PACKABLE = {
    "llama": _llama("gpt2"),
    "llama-bos": _llama("llama3"),
    "llama-sentencepiece": _llama("llama2"),
    "qwen2": Animal("qwen2", "qwen"),
    "qwen3": Animal("qwen3", "qwen", {"head_dim": 12}),
    "gpt-neox": Animal(
        "gpt_neox",
        "gpt2",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}},
    ),
    "gpt2": Animal(
        "gpt2", "ending", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT_TOKENS}, own_sizes=True
    ),
}
# What may need another path; the comment says why.
_MLA = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
SPECIAL = {
    # a window over the last tokens, in every layer or in every other
    "mistral-window": Animal("mistral", "mistral", {"sliding_window": WINDOW}),
    "qwen2-window": Animal(
        "qwen2", "qwen", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
    ),
    "gemma2": Animal(
        "gemma2",
        "gemma",
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 5.0,
            **_MIXED,
        },
    ),
    "gemma3": Animal("gemma3_text", "gemma", {"head_dim": 8, "query_pre_attn_scalar": 8, **_MIXED}),
    "llama4": Animal(
        "llama4_text",
        "llama3",
        {
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "num_local_experts": 2,
            "attention_chunk_size": WINDOW,
            "layer_types": ["chunked_attention", "full_attention"],
            "no_rope_layers": [1, 0],
        },
    ),
    # attention sinks
    "gpt-oss": Animal("gpt_oss", "qwen", {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, **_MIXED}),
    # experts
    "mixtral": Animal("mixtral", "llama2", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2-moe": Animal("qwen2_moe", "qwen", {**_EXPERTS, "shared_expert_intermediate_size": 24}),
    # values of another width than keys
    "deepseek-v3": Animal(
        "deepseek_v3",
        "llama3",
        {
            **_MLA,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "moe_intermediate_size": 24,
            "first_k_dense_replace": 1,
        },
    ),
    # attention code of their own
    "bloom": Animal("bloom", "gpt2", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, own_sizes=True),
    "mpt": Animal(
        "mpt",
        "gpt2",
        {"d_model": 32, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, "max_seq_len": CONTEXT_TOKENS},
        own_sizes=True,
    ),
    "falcon-alibi": Animal(
        "falcon",
        "gpt2",
        {"alibi": True, "new_decoder_architecture": False, "multi_query": False, "parallel_attn": False, "bias": True},
    ),
    "gptj": Animal(
        "gptj",
        "gpt2",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT_TOKENS, "rotary_dim": 4},
        own_sizes=True,
    ),
    # rotary frequencies that depend on how long the longest text is
    "phi3-longrope": Animal(
        "phi3",
        "llama2",
        {
            "original_max_position_embeddings": 64,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0, 1.0, 1.0, 1.0],
                "long_factor": [1.0, 1.5, 2.0, 3.0],
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "llama-dynamic-rope": Animal(
        "llama",
        "gpt2",
        {
            "max_position_embeddings": 64,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
        },
        context_tokens=CONTEXT_TOKENS,
    ),
    # positions from the mask
    "opt": Animal("opt", "ending", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    # state in place of keys and values
    "mamba": Animal("mamba", "gpt2", {"state_size": 4}),
    "lfm2": Animal("lfm2", "llama3", {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}),
    "qwen3-next": Animal(
        "qwen3_next",
        "qwen",
        {
            **_EXPERTS,
            "head_dim": 8,
            "shared_expert_intermediate_size": 24,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
}
# One layer that reads the tokens of each vocabulary.
READERS = {
    f"reads-{vocabulary}": _llama(vocabulary, num_hidden_layers=1, hidden_size=16, intermediate_size=16)
    for vocabulary in VOCABULARIES
}
ZOO = {**PACKABLE, **SPECIAL, **READERS}


def save(animal: Animal, folder: Path) -> None:
    """Write weights, config and tokenizer as `from_pretrained` reads them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    words = tokenizer(animal.vocabulary)
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.convert_tokens_to_ids(EOS), "pad_token_id": 0}
    sizes = {} if animal.own_sizes else _SIZES
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
        **{**_SIZES, "hidden_size": width, "num_hidden_layers": 1, "vocab_size": len(words), "head_dim": 8},
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
