import json

import pytest

from llm_eval.errors import InputError, InvalidData, MissingWeights, RunFailed
from llm_eval.specs import Checkpoint


def edited(folder, name: str, **changes) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def network_of(model):
    return model._answerer._loaded.model


def test_a_checkpoint_is_loaded_in_place_of_the_models_own_path(load, models):
    checkpoint = Checkpoint(name="step-1", path="llama", created_at="2026-01-01T00:00:00Z")
    assert network_of(load("not-here", checkpoint)).config.model_type == "llama"


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_weights_have_the_dtype_asked_for_and_auto_is_that_of_the_config(load, copy_of, dtype):
    folder = copy_of("llama")
    edited(folder, "config.json", dtype="bfloat16")
    loaded = network_of(load(folder, dtype=dtype)).dtype
    assert str(loaded) == {"auto": "torch.bfloat16"}.get(dtype, f"torch.{dtype}")


def test_a_device_map_is_passed_on(load):
    assert load("llama", device="auto", device_map="auto")
    with pytest.raises(InvalidData, match="none-such"):
        load("llama", device="auto", device_map="none-such")


def test_a_missing_folder_is_missing_when_opened_too(load):
    with pytest.raises(MissingWeights):
        load("not-here")


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there_is_said_to_be_missing(load, device):
    import torch

    if torch.cuda.device_count() > 7:
        pytest.skip("this machine has that GPU")
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match=rf"backend.device is '{device}', but torch .* sees \d CUDA device"):
        load("llama", device=device)


def test_an_unknown_device_is_refused_with_those_allowed(load):
    with pytest.raises(InputError, match="'gpu'; allowed: auto, cpu, cuda"):
        load("llama", device="gpu")


def test_a_device_and_a_device_map_contradict_each_other(load):
    with pytest.raises(InputError, match="both given"):
        load("llama", device="cpu", device_map="auto")


@pytest.mark.parametrize("keep", [0, 4, 1000, -100])
def test_weights_cut_short_are_invalid_data_that_names_the_model(load, copy_of, keep):
    folder = copy_of("llama")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:keep])
    with pytest.raises(InvalidData, match=rf"model 'tiny': {folder} cannot be loaded .*half-written"):
        load(folder)


def test_weights_that_are_absent_are_not_made_up(load, copy_of):
    from safetensors.torch import load_file, save_file

    path = copy_of("llama") / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(InvalidData, match=r"lacks 1 weight\(s\) .*: model\.layers\.1\.mlp\.up_proj\.weight\."):
        load(path.parent)


def test_weights_of_another_shape_are_invalid_data(load, copy_of):
    folder = copy_of("llama")
    edited(folder, "config.json", intermediate_size=64)
    with pytest.raises(InvalidData, match="model 'tiny'"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_broken_json_file_is_invalid_data(load, copy_of, name):
    folder = copy_of("llama")
    (folder / name).write_text('{"model_type": ')
    with pytest.raises(InvalidData, match="model 'tiny'"):
        load(folder)


def test_an_unknown_architecture_is_invalid_data(load, copy_of):
    folder = copy_of("llama")
    edited(folder, "config.json", model_type="none-such", architectures=["NoneSuch"])
    with pytest.raises(InvalidData, match="none-such"):
        load(folder)


def test_a_model_with_its_own_code_asks_for_trust(load, copy_of):
    folder = copy_of("llama")
    code = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    edited(folder, "config.json", model_type="own", auto_map=code)
    with pytest.raises(InputError, match=r"brings its own code.*backend\.trust_remote_code: true"):
        load(folder)


def test_a_chat_model_needs_a_chat_template(load):
    with pytest.raises(InputError, match=r"model 'tiny': chat is true, .* has no chat template\. Set `chat: false`"):
        load("gpt2", chat=True)


def test_a_tokenizer_from_elsewhere_brings_its_template(load):
    assert load("gpt2", chat=True, tokenizer_path="llama")


def test_learned_positions_cannot_be_stretched(load):
    with pytest.raises(InputError, match="context_tokens is 500, but the model has positions for 192 tokens only"):
        load("gpt2", context_tokens=500)


def test_rotary_positions_can_be_stretched(load):
    assert load("llama", context_tokens=500)._answerer._loaded.context_tokens == 500


def test_every_token_that_the_generation_config_or_the_tokenizer_ends_with_ends_an_answer(load, copy_of):
    folder = copy_of("llama")
    edited(folder, "generation_config.json", eos_token_id=[4, 9])
    assert load(folder)._answerer._loaded.end_ids == {2, 4, 9}


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
