"""Tiny models with predictions that vary, so that equal numbers mean something, and specs that load them on the CPU."""

from pathlib import Path

from llm_eval.specs import ModelSpec

SENTENCES = [
    "The capital of France is Paris, and the capital of Japan is Tokyo.",
    "Question: which of these is a mammal? Answer: the whale.",
    "Water boils at one hundred degrees, ice melts at zero degrees.",
    "She opened the window because the room was too warm.",
    "题目：下列哪一项是哺乳动物？答案是鲸鱼。",
]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT_TOKENS = 192


def _trained_bpe(specials: list[str]):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(SENTENCES * 3, trainer)
    return bpe


def save_llama(folder: Path, adds_bos: bool) -> None:
    import torch
    from tokenizers import processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = _trained_bpe(["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"])
    if adds_bos:
        bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def save_gpt2(folder: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bpe = _trained_bpe(["<|endoftext|>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(2)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=48,
        n_layer=2,
        n_head=4,
        n_positions=CONTEXT_TOKENS,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)


def model_spec(path: object, *, chat: bool = False, context_tokens: int | None = None, **backend: object) -> ModelSpec:
    values = {"kind": "transformers", "path": str(path), "device": "cpu", **backend}
    return ModelSpec.model_validate({"name": "tiny", "backend": values, "chat": chat, "context_tokens": context_tokens})
