"""Tokenizers of every kind that causal models come with, trained on a page of text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.backends.tiny_models import CHAT_TEMPLATE, SENTENCES

PAD, BOS, EOS, TURN, END_OF_TURN = SPECIALS = ("<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 480
WORDS = (
    "river",
    "stone",
    "garden",
    "seven",
    "captain",
    "yellow",
    "because",
    "window",
    "never",
    "market",
    "engine",
    "small",
    "whale",
    "island",
    "teacher",
    "before",
    "winter",
    "paper",
    "silver",
    "against",
    "morning",
    "kitchen",
    "letter",
    "number",
    "under",
    "question",
    "answer",
    "music",
    "without",
    "ocean",
)
# Letters after blanks, digits, code and blank lines, so that tokens span what prompts are cut at.
_PAGE = [
    *SENTENCES,
    "\n\nQuestion: 12 + 345 = 357\nA. red\nB. green\nC. blue\nD. grey\nAnswer: A\n\nAnswer: B",
    "Answer: A B C D\n" * 3,
    "ab\n \ncd\n \n" * 3,
    "def area(width, height):\n    return width * height  # 3.14\n\n\n\tif x:\n\t\treturn  None",
    "It's 1984, isn't it? They're “here” – naïve café, größer, тысяча девятьсот, 東京タワー 😀",
    " ".join(WORDS) + " " + " ".join(f"the {word} of" for word in WORDS),
]
# Source: the tokenizer.json of Llama 3 and of Qwen 2; they differ in how many digits make a piece.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def _byte_level(pre_tokenizer: Any, normalizer: Any = None) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_PAGE * 2, trainer)
    return tokenizer


def _split(pattern: str, normalizer: Any = None) -> Any:
    from tokenizers import Regex, pre_tokenizers

    pieces = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return _byte_level(pre_tokenizers.Sequence([pieces, bytes_]), normalizer)


def gpt2() -> Any:
    from tokenizers import pre_tokenizers

    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))


def gpt2_with_a_blank_in_front() -> Any:
    """As RoBERTa's and some GPT-NeoX conversions: the text's first word gets a blank."""
    from tokenizers import pre_tokenizers

    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))


def llama3() -> Any:
    return _starting_with_bos(_split(_LLAMA3))


def qwen() -> Any:
    """Normalises to NFC, so that a text's characters are not those of its tokens."""
    from tokenizers import normalizers

    return _split(_QWEN, normalizers.NFC())


def _byte_fallback_bpe(whole_texts: bool = False) -> Any:
    """Pieces written with ▁ for a blank, and a token for each byte beside them, as SentencePiece exports them.

    Such a model merges over the whole text; with `whole_texts` its merges reach over words too.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    if whole_texts:
        trained.normalizer = normalizers.Replace(" ", "▁")
    else:
        trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - 140, show_progress=False)
    trained.train_from_iterator(_PAGE[:-2] + _PAGE[-1:], trainer)  # what is not in there falls back to bytes
    learnt = json.loads(trained.to_str())["model"]
    bytes_ = (f"<0x{byte:02X}>" for byte in range(256))
    ids = {token: id for id, token in enumerate(("<unk>", *SPECIALS, *bytes_, *learnt["vocab"]))}
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.add_special_tokens(["<unk>", *SPECIALS])
    return tokenizer


def llama2() -> Any:
    """The older form of SentencePiece: a blank before the text, written by the normaliser."""
    from tokenizers import decoders, normalizers

    tokenizer = _starting_with_bos(_byte_fallback_bpe())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def _metaspace(prepend_scheme: str, whole_texts: bool = False) -> Any:
    from tokenizers import decoders, pre_tokenizers

    tokenizer = _starting_with_bos(_byte_fallback_bpe(whole_texts))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=False)
    metaspace = decoders.Metaspace(prepend_scheme=prepend_scheme, split=False)
    tokenizer.decoder = decoders.Sequence([metaspace, decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def mistral() -> Any:
    """Its end of turn swallows the blanks behind it, as Phi-3's does."""
    from tokenizers import AddedToken

    tokenizer = _metaspace("first")
    tokenizer.add_special_tokens([AddedToken(END_OF_TURN, rstrip=True, special=True)])
    return tokenizer


def gemma() -> Any:
    return _metaspace("never", whole_texts=True)


def unigram() -> Any:
    """As T5's and XLNet's: NFKC, runs of blanks made one, pieces chosen by probability, and an end appended."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    runs = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), runs])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY, special_tokens=["<unk>", *SPECIALS], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(_PAGE, trainer)
    return _wrapped(tokenizer, f"$A {EOS}")


def ending() -> Any:
    """Byte-level, with BOS and EOS put around every text."""
    return _wrapped(gpt2(), f"{BOS} $A {EOS}")


def _starting_with_bos(tokenizer: Any) -> Any:
    return _wrapped(tokenizer, f"{BOS} $A")


def _wrapped(tokenizer: Any, single: str) -> Any:
    from tokenizers import processors

    ids = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)
    return tokenizer


VOCABULARIES: dict[str, Callable[[], Any]] = {
    builder.__name__: builder
    for builder in (
        gpt2,
        gpt2_with_a_blank_in_front,
        llama3,
        qwen,
        llama2,
        mistral,
        gemma,
        unigram,
        ending,
    )
}


def tokenizer(name: str) -> Any:
    """As `transformers` loads it. qwen has no BOS, as in the original."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=VOCABULARIES[name](),
        pad_token=PAD,
        eos_token=EOS,
        bos_token=None if name == "qwen" else BOS,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
