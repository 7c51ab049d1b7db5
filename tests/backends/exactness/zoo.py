"""Tiny models, one of each architecture that computes something its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.backends.exactness.vocabularies import VOCABULARIES

CONTEXT_TOKENS = 256
WINDOW = 16  # tokens that a sliding window sees: less than nearly every prompt has
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT_TOKENS,
}


@dataclass(frozen=True)
class Animal:
    """config: what differs from `SIZES`, or all of it where an architecture has other names for them.

    context_tokens: asked for in the spec, where it is more than what the config says.
    """

    model_type: str
    vocabulary: str
    config: dict[str, Any]
    has_usual_sizes: bool = True
    context_tokens: int | None = None


def _usual(model_type: str, vocabulary: str, **config: Any) -> Animal:
    return Animal(model_type, vocabulary, config)


def _unusual(model_type: str, vocabulary: str, **config: Any) -> Animal:
    return Animal(model_type, vocabulary, config, has_usual_sizes=False)


def _rope(rope_type: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": 10000.0, **more}}


_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT_TOKENS}
# What the packed path is for.
PACKABLE = {
    "llama": _usual("llama", "gpt2"),
    "llama-bos": _usual("llama", "llama3"),
    "llama-sentencepiece": _usual("llama", "llama2"),
    "qwen2": _usual("qwen2", "qwen"),
    "qwen3": _usual("qwen3", "qwen", head_dim=12),
    "gpt-neox": _usual("gpt_neox", "gpt2", **_rope("default", partial_rotary_factor=0.25)),
    "gpt2": _unusual("gpt2", "ending", **_GPT2),
}

_MIXED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_GEMMA2 = {"head_dim": 8, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}
_GEMMA3 = {"head_dim": 8, "query_pre_attn_scalar": 8}
_GPT_OSS = {"head_dim": 8, **_LOCAL_EXPERTS}
_LLAMA4 = {"head_dim": 8, "intermediate_size_mlp": 48, "num_local_experts": 2, "no_rope_layers": [1, 0]}
_CHUNKS = {"attention_chunk_size": WINDOW, "layer_types": ["chunked_attention", "full_attention"]}
_MLA = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12}
_ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "moe_intermediate_size": 24}
_MPT = {"d_model": 32, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, "max_seq_len": CONTEXT_TOKENS}
_ALIBI = {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True}
_DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
_LONG = {"short_factor": [1.0] * 4, "long_factor": [1.0, 1.5, 2.0, 3.0], "original_max_position_embeddings": 64}
# What may need another path; the comment says why.
SPECIAL = {
    # a window over the last tokens, in every layer or in every other; or one that is as wide as the context
    "mistral-window": _usual("mistral", "mistral", sliding_window=WINDOW),
    "mistral-wide-window": _usual("mistral", "mistral", sliding_window=CONTEXT_TOKENS),
    "qwen2-window": _usual("qwen2", "qwen", use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "gemma3": _usual("gemma3_text", "gemma", **_GEMMA3, **_MIXED),
    "llama4": _usual("llama4_text", "llama3", **_LLAMA4, **_CHUNKS),
    # capped logits and attention sinks, with such a window and without
    "gemma2": _usual("gemma2", "gemma", **_GEMMA2, **_MIXED),
    "gemma2-wide-window": _usual("gemma2", "gemma", **_GEMMA2, sliding_window=CONTEXT_TOKENS),
    "gpt-oss": _usual("gpt_oss", "qwen", **_GPT_OSS, **_MIXED),
    "gpt-oss-wide-window": _usual("gpt_oss", "qwen", **_GPT_OSS, sliding_window=CONTEXT_TOKENS),
    # experts
    "mixtral": _usual("mixtral", "llama2", **_LOCAL_EXPERTS),
    "qwen2-moe": _usual("qwen2_moe", "qwen", **_EXPERTS, shared_expert_intermediate_size=24),
    # values of another width than keys
    "deepseek-v3": _usual("deepseek_v3", "llama3", **_MLA, **_ROUTED, num_key_value_heads=4, first_k_dense_replace=1),
    # attention code of their own
    "bloom": _unusual("bloom", "gpt2", hidden_size=32, n_layer=2, n_head=4),
    "mpt": _unusual("mpt", "gpt2", **_MPT),
    "falcon-alibi": _usual("falcon", "gpt2", **_ALIBI, new_decoder_architecture=False),
    "gptj": _unusual("gptj", "gpt2", **_GPT2, rotary_dim=4),
    # positions from the mask
    "opt": _usual("opt", "ending", ffn_dim=48, word_embed_proj_dim=32),
    # rotary frequencies that depend on how long the longest text is
    "phi3-longrope": _usual("phi3", "llama2", original_max_position_embeddings=64, **_rope("longrope", **_LONG)),
    "llama-dynamic-rope": Animal(
        "llama",
        "gpt2",
        {"max_position_embeddings": 64, **_rope("dynamic", factor=2.0)},
        context_tokens=CONTEXT_TOKENS,
    ),
    # state in place of keys and values; the last one has no use for a mask
    "mamba": _usual("mamba", "gpt2", state_size=4),
    "lfm2": _usual("lfm2", "llama3", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False),
    "qwen3-next": _usual(
        "qwen3_next",
        "qwen",
        head_dim=8,
        layer_types=["linear_attention", "full_attention"],
        shared_expert_intermediate_size=24,
        **_EXPERTS,
        **_DELTA,
    ),
    "rwkv": _usual("rwkv", "gpt2"),
}

# One layer that reads the tokens of each vocabulary.
READERS = {
    f"reads-{vocabulary}": _usual("llama", vocabulary, num_hidden_layers=1, hidden_size=16, intermediate_size=16)
    for vocabulary in VOCABULARIES
}
ZOO = {**PACKABLE, **SPECIAL, **READERS}
