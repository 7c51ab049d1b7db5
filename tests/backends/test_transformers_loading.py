"""What is loaded, and the one message for each thing that cannot be."""

import json
import pickle
import shutil

import pytest
from pydantic import ValidationError

from llm_eval.backends.transformers import loading
from llm_eval.errors import InputError, InvalidData, MissingWeights, RunFailed, UnsupportedRequest
from llm_eval.specs import Checkpoint


@pytest.fixture
def loaded(spec, settings):
    """loaded(path, checkpoint, **keywords as of `spec`)."""
    return lambda path, checkpoint=None, **keywords: loading.load(spec(path, **keywords), checkpoint, settings)


def edited(folder, name: str, **changes) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def changed(folder, change) -> None:
    """Let `change` do what it likes to the weights."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_checkpoint_is_loaded_in_place_of_the_models_own_path(loaded, models):
    checkpoint = Checkpoint(name="step-1", path="llama", created_at="2026-01-01T00:00:00Z")
    assert loaded("not-here", checkpoint).model.config.model_type == "llama"


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16"])
def test_weights_have_the_dtype_asked_for_and_auto_is_that_of_the_config(loaded, copy_of, dtype):
    folder = copy_of("llama")
    edited(folder, "config.json", dtype="bfloat16")
    assert str(loaded(folder, dtype=dtype).model.dtype) == {"auto": "torch.bfloat16"}.get(dtype, f"torch.{dtype}")


@pytest.mark.parametrize("device_map", ["auto", "balanced", "sequential"])
def test_a_device_map_loads_a_model_wherever_there_is_room(loaded, device_map):
    assert loaded("llama", device="auto", device_map=device_map).lease is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"device": "gpu"}, "should match pattern"),
        ({"device": "cuda:"}, "should match pattern"),
        ({"device": "auto", "device_map": "none-such"}, "'auto', 'balanced', 'balanced_low_0' or 'sequential'"),
        ({"device": "cpu", "device_map": "auto"}, "both given; leave one of them out"),
        ({"dtype": "int8"}, "'auto', 'float32', 'bfloat16' or 'float16'"),
    ],
)
def test_a_device_or_dtype_that_is_not_known_is_refused_where_it_is_written(spec, wrong, said):
    with pytest.raises(ValidationError, match=said):
        spec("llama", **wrong)


def test_a_missing_folder_is_missing_when_opened_too(loaded):
    with pytest.raises(MissingWeights):
        loaded("not-here")


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there_is_said_to_be_missing(loaded, device):
    import torch

    if torch.cuda.device_count() > 7:
        pytest.skip("this machine has that GPU")
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match=rf"backend.device is '{device}', but torch .* sees \d CUDA device"):
        loaded("llama", device=device)


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (0, "no readable safetensors header"),
        (4, "no readable safetensors header"),
        (1000, "no readable safetensors header"),
        (-100, r"half-written: \d+ bytes, where its header promises \d+"),
    ],
)
def test_weights_cut_short_are_invalid_data_that_names_model_and_file(loaded, copy_of, keep, said):
    path = copy_of("llama") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidData, match=rf"model 'tiny': {path} (is|has) {said}.*Fetch or copy it again"):
        loaded(path.parent)


@pytest.mark.parametrize("garbage", [b"\xff" * 4096, b"not weights at all " * 100, b"\x08" + b"\0" * 7 + b'{"a":[]}'])
def test_a_file_of_something_else_is_not_weights(loaded, copy_of, garbage):
    path = copy_of("llama") / "model.safetensors"
    path.write_bytes(garbage)
    with pytest.raises(InvalidData, match=rf"model 'tiny': {path} has no readable safetensors header"):
        loaded(path.parent)


def test_a_checkpoint_of_broken_weights_is_named(loaded, copy_of):
    folder = copy_of("llama")
    (folder / "model.safetensors").write_bytes(b"")
    checkpoint = Checkpoint(name="step-1", path=str(folder), created_at="2026-01-01T00:00:00Z")
    with pytest.raises(InvalidData, match="model 'tiny', checkpoint 'step-1': "):
        loaded("llama", checkpoint)


def test_a_shard_that_is_not_the_one_the_index_names_is_invalid_data(loaded, copy_of):
    folder = copy_of("llama")
    names = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    (folder / "model.safetensors").rename(folder / names[0])
    shutil.copy(folder / names[0], folder / names[1])
    weight_map = {"model.embed_tokens.weight": names[0], "model.layers.9.mlp.up_proj.weight": names[1]}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with pytest.raises(InvalidData, match=rf"{names[1]} lacks model\.layers\.9\.mlp\.up_proj\.weight, which .*index"):
        loaded(folder)


def test_weights_that_are_absent_are_not_made_up(loaded, copy_of):
    folder = copy_of("llama")
    changed(folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(InvalidData, match=r"lacks 1 weight\(s\) .*: model\.layers\.1\.mlp\.up_proj\.weight\."):
        loaded(folder)


def test_weights_of_another_shape_are_invalid_data(loaded, copy_of):
    folder = copy_of("llama")
    edited(folder, "config.json", intermediate_size=64)
    with pytest.raises(InvalidData, match="model 'tiny'"):
        loaded(folder)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_invalid_data_that_names_the_first(loaded, copy_of, number):
    folder = copy_of("llama")
    changed(folder, lambda tensors: tensors["model.layers.1.self_attn.q_proj.weight"][3].fill_(number))
    with pytest.raises(InvalidData, match=r"the weight model\.layers\.1\.self_attn\.q_proj\.weight holds NaN or inf"):
        loaded(folder)


def test_a_dtype_too_small_for_the_weights_is_told_before_it_spoils_answers(loaded, copy_of):
    folder = copy_of("llama")
    changed(folder, lambda tensors: tensors["model.norm.weight"].mul_(1e6))
    assert loaded(folder, dtype="bfloat16")
    with pytest.raises(InvalidData, match=r"model\.norm\.weight holds NaN or infinite .*as torch\.float16.*too small"):
        loaded(folder, dtype="float16")


class Malice:
    def __init__(self, file) -> None:
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_a_pickle_of_weights_is_never_allowed_to_run_code(loaded, copy_of, tmp_path):
    folder = copy_of("llama")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(
        pickle.dumps({"model.norm.weight": Malice(tmp_path / "owned")}, protocol=2)
    )
    with pytest.raises(InvalidData, match="model 'tiny'"):
        loaded(folder)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_broken_json_file_is_invalid_data(loaded, copy_of, name):
    folder = copy_of("llama")
    (folder / name).write_text('{"model_type": ')
    with pytest.raises(InvalidData, match="model 'tiny'"):
        loaded(folder, chat=True)


def test_an_unknown_architecture_is_refused_by_name(loaded, copy_of):
    folder = copy_of("llama")
    edited(folder, "config.json", model_type="none-such", architectures=["NoneSuch"])
    with pytest.raises(UnsupportedRequest, match=r"model_type 'none-such', which transformers [\d.]+ does not know"):
        loaded(folder)


def test_a_model_with_its_own_code_asks_for_trust(loaded, copy_of):
    folder = copy_of("llama")
    code = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    edited(folder, "config.json", model_type="own", auto_map=code)
    with pytest.raises(InputError, match=r"brings its own code.*backend\.trust_remote_code: true"):
        loaded(folder)


def test_a_chat_model_needs_a_chat_template(loaded):
    with pytest.raises(InputError, match=r"model 'tiny': chat is true, .* has no chat template\. Set `chat: false`"):
        loaded("gpt2", chat=True)


def test_a_tokenizer_from_elsewhere_brings_its_template(loaded):
    assert loaded("gpt2", chat=True, tokenizer_path="llama")


def test_learned_positions_cannot_be_stretched(loaded):
    with pytest.raises(InputError, match="context_tokens is 500, but the model has positions for 192 tokens only"):
        loaded("gpt2", context_tokens=500)


def test_rotary_positions_can_be_stretched(loaded):
    assert loaded("llama", context_tokens=500).context_tokens == 500


def test_every_token_that_the_generation_config_or_the_tokenizer_ends_with_ends_an_answer(loaded, copy_of):
    folder = copy_of("llama")
    edited(folder, "generation_config.json", eos_token_id=[4, 9])
    assert loaded(folder).end_ids == {2, 4, 9}


def test_code_of_a_model_that_fails_is_a_failed_run_that_names_the_model(ask, request_of, monkeypatch):
    from transformers import LlamaForCausalLM

    def outdated(self, input_ids):
        raise AttributeError("'DynamicCache' object has no attribute 'seen_tokens'")

    monkeypatch.setattr(LlamaForCausalLM, "forward", outdated)
    with pytest.raises(RunFailed, match=r"model 'tiny': its code failed .*seen_tokens"):
        ask("llama", [request_of("a", "generate", "Water")], {"max_tokens": 4})


@pytest.mark.gpu
def test_a_gpu_scores_as_the_cpu_does(ask, request_of):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    requests = [request_of(str(i), "choices", "Water boils. " * (i + 1), (" A", " the whale")) for i in range(5)]
    on_gpu, on_cpu = (ask("llama", requests, dtype="float32", device=device) for device in ("cuda", "cpu"))
    for key in on_cpu:
        there, here = ([one.logprob for one in r.likelihoods] for r in (on_gpu[key], on_cpu[key]))
        assert there == pytest.approx(here, abs=1e-2)


def test_a_closed_model_answers_no_more(load):
    from llm_eval.specs import Generation

    model = load("llama")
    model.close()
    model.close()
    with pytest.raises(ValueError, match="closed"):
        model.answer([], Generation())
