"""Make a model of the Llama family with random weights and a tokenizer trained on the benchmark's own text.

    python benchmarks/engine/make_model.py FOLDER --size tiny|small --dtype float32|bfloat16 [--seed 0]

tiny has 8.6 million parameters, small 88. The weights are drawn wider than is usual before training: with the usual
0.02 a model that has learned nothing answers the same to everything, with 0.05 tiny picks one letter for all questions
of a subject, and equal answers would prove nothing.
Runs in any environment with torch and transformers, so that a model can be made for an older version of the library.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from corpus import training_texts

VOCABULARY = 8192
CONTEXT_TOKENS = 2048
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
SIZES = {
    "tiny": {
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "initializer_range": 0.08,
    },
    "small": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "initializer_range": 0.05,
    },
}
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(seed: int) -> Any:
    """A byte-level BPE that puts no token in front of a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(training_texts(seed), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_weights(size: str, dtype: str, seed: int) -> Any:
    """Random weights, the same for the same seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **SIZES[size],
    )
    return LlamaForCausalLM(config).to(getattr(torch, dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make_tokenizer(arguments.seed).save_pretrained(arguments.folder)
    weights = make_weights(arguments.size, arguments.dtype, arguments.seed)
    weights.save_pretrained(arguments.folder)
    print(f"{arguments.folder}: {weights.num_parameters() / 1e6:.1f} million parameters, {arguments.dtype}")


if __name__ == "__main__":
    main()
