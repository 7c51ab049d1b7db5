"""Tiny models with predictions that vary, so that equal numbers mean something; built once per session, on the CPU."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

from llm_eval.backends.transformers import TransformersModel
from llm_eval.records import Message, Request, Response, Shot
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, Generation, ModelSpec

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


def _save_llama(folder: Path, adds_bos: bool) -> None:
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


def _save_gpt2(folder: Path) -> None:
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


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """What the tokenizers were trained on."""
    return SENTENCES


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with llama (no BOS), llama-bos (tokenizer adds one) and gpt2 (absolute positions, no padding token)."""
    folder = tmp_path_factory.mktemp("models")
    _save_llama(folder / "llama", adds_bos=False)
    _save_llama(folder / "llama-bos", adds_bos=True)
    _save_gpt2(folder / "gpt2")
    return folder


@pytest.fixture
def copy_of(models: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a copy of one of the models that a test may spoil."""

    def copy(name: str) -> Path:
        shutil.copytree(models / name, tmp_path / name)
        return tmp_path / name

    return copy


@pytest.fixture
def settings(models: Path, tmp_path: Path) -> Settings:
    """Datasets and models are looked for in the test's own folder; models after that among the tiny ones."""
    return Settings(root=str(tmp_path / "root"), catalogs=(), datasets=(tmp_path,), models=(tmp_path, models))


def model_spec(path: object, *, chat: bool = False, context_tokens: int | None = None, **backend: object) -> ModelSpec:
    values = {"kind": "transformers", "path": str(path), "device": "cpu", **backend}
    return ModelSpec.model_validate({"name": "tiny", "backend": values, "chat": chat, "context_tokens": context_tokens})


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    return model_spec


@pytest.fixture
def load(settings: Settings) -> Iterator[Callable[..., TransformersModel]]:
    """Opens a model; keywords as of `spec`. All are closed when the test ends."""
    opened: list[TransformersModel] = []

    def open_model(path: object, checkpoint: Checkpoint | None = None, **keywords: object) -> TransformersModel:
        model = TransformersModel.open(model_spec(path, **keywords), checkpoint, "demo", settings)
        opened.append(model)
        return model

    yield open_model
    for model in opened:
        model.close()


@pytest.fixture
def ask(load: Callable[..., TransformersModel]) -> Callable[..., dict[tuple[str, int], Response]]:
    """Responses by (request id, attempt); `generation` is a dict, other keywords as of `spec`."""

    def answers(
        path: object, requests: list[Request], generation: dict[str, object] | None = None, **keywords: object
    ) -> dict[tuple[str, int], Response]:
        responses = list(load(path, **keywords).answer(requests, Generation.model_validate(generation or {})))
        found = {(r.request_id, r.attempt): r for r in responses}
        assert len(found) == len(responses), "answered twice"
        return found

    return answers


def _request(id: str, kind: str, text: str, continuations: tuple[str, ...] = (), **fields: object) -> Request:
    return Request(id, f"sample-{id}", kind, text=text, continuations=continuations, **fields)


@pytest.fixture
def request_of() -> Callable[..., Request]:
    """request_of(id, kind, text, continuations, **fields)."""
    return _request


@pytest.fixture
def conversation_of() -> Callable[..., Request]:
    """conversation_of(id, kind, *(role, content), **fields)."""

    def conversation(id: str, kind: str, *turns: tuple[str, str], **fields: object) -> Request:
        return Request(id, f"sample-{id}", kind, messages=tuple(Message(*turn) for turn in turns), **fields)

    return conversation


@pytest.fixture
def shots() -> tuple[Shot, ...]:
    """Three examples of about twenty tokens each."""
    return tuple(Shot(f"Question: which is a mammal, number {i}? Answer:", f" the whale {i}.\n\n") for i in range(3))
