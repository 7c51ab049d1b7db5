"""Trains the demo model on the lessons of its world and leaves checkpoints along the way."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_eval.demo import folders
from llm_eval.demo.batches import NOT_LEARNED, Batch, encode_lessons
from llm_eval.demo.recipe import Recipe
from llm_eval.demo.tokenizer import build_tokenizer
from llm_eval.demo.world import animal_lessons, sum_lessons

if TYPE_CHECKING:
    from torch import Tensor

CONTEXT_TOKENS = 512

Progress = Callable[[int, float], None]
"""Called after each step with its number, from 1, and its loss in nats per answer token."""


def is_trained(recipe: Recipe, output: Path) -> bool:
    """Whether every checkpoint of this very training is there."""
    identity = recipe.fingerprint()
    return all(folders.is_from(folder, identity) for folder in recipe.checkpoint_folders(output).values())


def train(recipe: Recipe, output: Path, threads: int, progress: Progress) -> None:
    """Train from the beginning; each checkpoint becomes a Hugging Face folder below `output`.

    Checkpoints that an interrupted training with this recipe left are kept as they are: the same weights would come.
    Equal bytes on the same machine with the same number of threads. Raises InputError if `output` holds a checkpoint
    of something else, StorageError if one cannot be written.
    """
    identity = recipe.fingerprint()
    wanted = recipe.checkpoint_folders(output)
    folders.clear(output, identity)
    tokenizer = build_tokenizer(text for lesson in [*sum_lessons(), *animal_lessons()] for text in lesson)
    with _torch_settings(threads, recipe.seed):
        model = _new_model(recipe, tokenizer)
        for step, loss in _steps(model, recipe, tokenizer):
            if step in wanted and not folders.is_from(wanted[step], identity):
                with folders.appearing(wanted[step], identity) as folder:
                    model.save_pretrained(folder)
                    tokenizer.save_pretrained(folder)
                    # safetensors writes for its owner alone, and the worker that evaluates may be somebody else
                    shutil.copymode(folder / "config.json", folder / "model.safetensors")
            progress(step, loss)


@contextmanager
def _torch_settings(threads: int, seed: int) -> Iterator[None]:
    """Threads and seed for a block; afterwards the process has its own back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def _new_model(recipe: Recipe, tokenizer: Any) -> Any:
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # one for every file it writes, in the middle of our lines

    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=recipe.mlp,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        initializer_range=recipe.initial_std,
        **special,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=False, **special)
    return model


def _steps(model: Any, recipe: Recipe, tokenizer: Any) -> Iterator[tuple[int, float]]:
    """Takes the steps one by one, and yields each one's number and loss when it is done."""
    import torch

    lessons, draws = encode_lessons(tokenizer), random.Random(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=recipe.weight_decay, fused=True)
    model.train()
    for step in range(1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate(step)
        loss = answer_loss(model, lessons.draw(recipe, draws))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield step, loss.item()


def answer_loss(model: Any, batches: Sequence[Batch]) -> Tensor:
    """Mean cross-entropy over the answers' tokens of all batches together, in nats."""
    import torch
    from torch.nn.functional import cross_entropy

    logits, labels = [], []
    for batch in batches:
        hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1]
        following = batch.labels[:, 1:]
        learned = following != NOT_LEARNED
        logits.append(model.lm_head(hidden[learned]))  # only where there is something to learn: most is not
        labels.append(following[learned])
    return cross_entropy(torch.cat(logits), torch.cat(labels))
