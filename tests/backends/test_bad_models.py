"""Bad models from the command line: one message, no traceback, exit code 2, and what was answered stays answered."""

import json
import os
import shutil

import pytest

from llm_eval.errors import InvalidData
from llm_eval.layout import Layout, Shard
from llm_eval.specs import RunParams
from llm_eval.stages import run_stage
from llm_eval.stages.plan import Wish, plan
from tests.builders import NOON, House
from tests.test_cli import llm_eval

SHORT = ("--set", "dataset.generation.max_tokens=4")


@pytest.fixture
def tiny(house, models):
    """tiny(**backend): the folder of a Llama of its own, and a model `tiny` in the house's catalog that names it."""
    folder = house.folder / "models" / "llama"
    shutil.copytree(models / "llama", folder)

    def write(chat=False, **backend):
        house.model(
            name="tiny", chat=chat, backend={"kind": "transformers", "path": "llama", "device": "cpu", **backend}
        )
        return folder

    return write


def run(house: House, *arguments: str):
    return llm_eval(house, *arguments, LLM_EVAL_MODELS=str(house.folder / "models"), HF_HUB_OFFLINE="1")


def config(folder, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(folder) -> None:
    os.truncate(folder / "model.safetensors", 5000)


BROKEN = {
    "half-written weights": ({}, cut, "model.safetensors is half-written: 5000 bytes"),
    "no weights": ({}, lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
    "an encoder-decoder of its own": (
        {},
        lambda folder: config(folder, is_encoder_decoder=True),
        "is not an encoder-decoder from text to text: its model_type is 'llama'",
    ),
    "a classifier": (
        {},
        lambda folder: config(folder, architectures=["LlamaForSequenceClassification"]),
        "cannot write",
    ),
    "an unknown architecture": ({}, lambda folder: config(folder, model_type="new"), "has model_type 'new', which"),
    "quantised": ({}, lambda folder: config(folder, quantization_config={"quant_method": "awq"}), "needs packages"),
    "no template": ({"chat": True}, lambda folder: (folder / "chat_template.jinja").unlink(), "no chat template"),
    "an unknown dtype": ({"dtype": "fp8"}, lambda folder: None, "dtype"),
    "an unknown device": ({"device": "gpu"}, lambda folder: None, "device"),
    "no adapter": ({"adapter_path": "lora"}, lambda folder: None, "there is no folder 'lora'"),
}


@pytest.mark.parametrize("kind", [*BROKEN])
def test_plan_refuses_what_cannot_be_loaded(house, tiny, kind):
    keywords, spoil, message = BROKEN[kind]
    spoil(tiny(**keywords))

    done = run(house, "plan", "-m", "tiny", "-d", "colours", *SHORT)

    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "tiny" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (house.folder / "root").exists()


def test_plan_refuses_answers_longer_than_the_context(house, tiny):
    tiny()
    done = run(house, "plan", "-m", "tiny", "-d", "colours")
    assert done.returncode == 2
    assert "answers of up to 256 tokens (generation.max_tokens), but prompt and answer must fit" in done.stderr


def test_check_refuses_them_without_looking_for_the_model(house):
    backend = {"kind": "transformers", "path": "not-here"}
    house.model(name="tiny", context_tokens=100, backend=backend)
    house.suite(models=["tiny"])
    done = run(house, "check")
    assert done.returncode == 2
    assert "suite 'nightly': model 'tiny': dataset 'colours' asks for answers of up to 256 tokens" in done.stderr


def test_a_gpu_that_is_not_there_is_told_when_the_model_is_opened(house, tiny):
    tiny(device="cuda:99")
    done = run(house, "run", "-m", "tiny", "-d", "colours", *SHORT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: model 'tiny': backend.device is 'cuda:99', but torch ")
    assert "Traceback" not in done.stderr


def responses(house) -> list:
    return sorted((house.folder / "root" / "responses").rglob("part-*.parquet"))


def test_what_was_answered_before_the_weights_broke_stays_answered(house, tiny):
    weights = tiny() / "model.safetensors"
    wish = Wish("tiny", "colours", RunParams(overrides={"dataset.generation.max_tokens": 4}))
    planned = Layout(house.settings.root, plan(house.catalog, house.settings, wish, NOON)).run_uri
    for stage in ("fetch", "validate", "render"):
        run_stage(stage, planned, house.settings)
    run_stage("infer", planned, house.settings, shard=Shard(0, 2))
    before, whole, stat = responses(house), weights.read_bytes(), weights.stat()

    os.truncate(weights, 5000)
    with pytest.raises(InvalidData, match="model 'tiny': "):
        run_stage("infer", planned, house.settings, shard=Shard(1, 2))
    assert before
    assert responses(house) == before

    weights.write_bytes(whole)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert [run_stage("infer", planned, house.settings, shard=Shard(i, 2)).skipped for i in (0, 1)] == [True, False]
