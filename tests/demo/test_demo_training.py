"""The demo's training, in miniature: checkpoints that load, that are whole or absent, and that come out the same."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llm_eval.demo import folders
from llm_eval.demo.batches import NOT_LEARNED, encode
from llm_eval.demo.recipe import Recipe
from llm_eval.demo.train import is_trained, train
from llm_eval.demo.world import Lesson
from llm_eval.errors import InputError, StorageError
from tests.builders import TINY_DEMO as TINY
from tests.conftest import CHECKOUT

NAMES = ["step-0001", "step-0004", "step-0007", "step-0010"]


def train_tiny(output: Path, recipe: Recipe = TINY) -> list[float]:
    losses: list[float] = []
    train(recipe, output, 1, lambda step, loss: losses.append(loss))
    return losses


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(output: Path) -> list[str]:
    return sorted(path.name for path in output.iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("models") / "demo"
    train_tiny(output)
    return output


def test_training_leaves_four_checkpoints(trained):
    assert names(trained) == NAMES
    assert is_trained(TINY, trained)


def test_whoever_may_read_the_config_may_read_the_weights(trained):
    modes = {path.stat().st_mode for path in (trained / "step-0010").iterdir()}

    assert len(modes) == 1


def test_the_loss_falls(tmp_path):
    losses = train_tiny(tmp_path, replace(TINY, steps=40, warmup_steps=5))

    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_checkpoints_load_as_hugging_face_folders_that_can_chat(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained / "step-0010")
    model = AutoModelForCausalLM.from_pretrained(trained / "step-0010")

    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1+2?"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<s><|system|>Be brief.</s><|user|>What is 1+2?</s><|assistant|>"
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert (tokenizer.decode(model.generation_config.eos_token_id), tokenizer.pad_token) == ("</s>", "<pad>")
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id


def test_the_chat_template_refuses_other_roles(trained):
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained / "step-0010")

    with pytest.raises(TemplateError, match="not tool"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "3"}], tokenize=False)


def test_lessons_are_taught_in_the_tokens_of_the_chat_template_and_only_answers_are_learned(trained):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained / "step-0010")
    (turn,) = encode(tokenizer, [Lesson("What is 47+28?", "60+15=75")])

    question = [{"role": "user", "content": "What is 47+28?"}]
    whole = [*question, {"role": "assistant", "content": "60+15=75"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    assert [tokenizer.bos_token_id, *turn.ids] == tokenizer.apply_chat_template(whole, return_dict=False)
    assert turn.labels == [NOT_LEARNED] * (len(prompt) - 1) + turn.ids[len(prompt) - 1 :]
    assert tokenizer.decode([i for i in turn.labels if i != NOT_LEARNED]) == "60+15=75</s>"


def test_training_again_brings_back_the_same_bytes_and_leaves_whole_checkpoints_alone(trained, tmp_path):
    train_tiny(tmp_path)
    (tmp_path / "step-0004").rename(tmp_path / "gone")
    kept = list(tmp_path.rglob("step-*/*"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert not is_trained(TINY, tmp_path)

    train_tiny(tmp_path)

    assert contents(tmp_path / "step-0004") == contents(tmp_path / "gone") == contents(trained / "step-0004")
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_another_recipe_replaces_the_old_checkpoints(tmp_path):
    train_tiny(tmp_path)

    train_tiny(tmp_path, replace(TINY, steps=20, seed=1))

    assert names(tmp_path) == ["step-0002", "step-0008", "step-0014", "step-0020"]
    assert not is_trained(TINY, tmp_path)


def test_an_interrupted_training_leaves_only_whole_checkpoints(trained, tmp_path):
    def interrupt(step: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path, 1, interrupt)

    assert names(tmp_path) == ["step-0001", "step-0004"]
    assert contents(tmp_path / "step-0004") == contents(trained / "step-0004")


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def fail_halfway() -> None:
        with folders.appearing(tmp_path / "step-0001", "recipe") as folder:
            (folder / "config.json").write_text("{}")
            assert not folder.match("step-*")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()

    assert names(tmp_path) == []


def test_what_a_killed_write_left_is_cleared_away(tmp_path):
    (tmp_path / ".step-0001.partial").mkdir()
    (tmp_path / ".step-0001.partial" / "config.json").write_text("{}")

    folders.clear(tmp_path, "recipe")

    assert names(tmp_path) == []


def test_a_checkpoint_of_something_else_is_refused_and_nothing_is_removed(tmp_path):
    with folders.appearing(tmp_path / "step-0001", "old recipe"):
        pass
    (tmp_path / "step-0900").mkdir()

    with pytest.raises(InputError, match=r"step-0900 was not written by this command"):
        folders.clear(tmp_path, "recipe")

    assert names(tmp_path) == ["step-0001", "step-0900"]


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"cannot write .*step-0001: Not a directory"):
        folders.appearing(tmp_path / "file" / "step-0001", "recipe").__enter__()


def test_too_few_steps_are_refused_on_the_command_line(tmp_path):
    command = [sys.executable, "-m", "llm_eval.demo", "--steps", "9", "--output", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)

    assert (done.returncode, done.stderr) == (2, "error: --steps 9 is too few for four checkpoints; 10 is the least\n")


def test_the_command_does_nothing_when_the_model_is_trained(tmp_path):
    recipe = Recipe(steps=10)
    for folder in recipe.checkpoint_folders(tmp_path).values():
        with folders.appearing(folder, recipe.fingerprint()):
            pass

    command = [sys.executable, "-m", "llm_eval.demo", "--steps", "10", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"demo model: already trained, {tmp_path} has {', '.join(NAMES)}\n"
