"""PEFT adapters: made by peft, checked against the sum of weights written out by hand."""

import json
import logging
import warnings
from types import SimpleNamespace

import pytest

from llm_eval.backends.places import Place
from llm_eval.backends.transformers import TransformersModel, adapters, loading
from llm_eval.errors import InputError, InvalidData
from llm_eval.specs import Checkpoint

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RANK, ALPHA = 4, 12


@pytest.fixture
def loaded(spec, settings):
    """loaded(path, adapter, checkpoint, **keywords as of `spec`)."""

    def open_model(path="llama", adapter=None, checkpoint=None, **keywords):
        return loading.load(spec(path, adapter_path=adapter and str(adapter), **keywords), checkpoint, settings)

    return open_model


def plain(path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()


@pytest.fixture
def trained(models, tmp_path):
    """trained(base, config, name, **edits): an adapter whose every number is other than at its start; see `.logits`."""
    import peft
    import torch

    def train(base="llama", config=None, name="adapter", resize=None, **edits):
        network = plain(models / base)
        if resize:
            network.resize_token_embeddings(resize, mean_resizing=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = peft.get_peft_model(
                network, config or peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LINEAR)
            )
            torch.manual_seed(7)
            for parameter in wrapped.parameters():
                if parameter.requires_grad:
                    torch.nn.init.normal_(parameter, std=0.2)
            folder = tmp_path / name
            wrapped.save_pretrained(folder)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base, **edits}))
        with torch.inference_mode():
            return SimpleNamespace(folder=folder, logits=wrapped.eval()(input_ids=ids()).logits)

    return train


def ids():
    import torch

    return torch.arange(5, 45)[None]


def logits(network):
    import torch

    with torch.inference_mode():
        return network(input_ids=ids()).logits


def tensors_of(folder):
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def changed(folder, change) -> None:
    from safetensors.torch import save_file

    tensors = tensors_of(folder)
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_become_w_plus_scale_times_b_a(loaded, trained, models, dtype):
    import torch

    adapter = trained().folder
    tensors, before = tensors_of(adapter), dict(plain(models / "llama").named_parameters())

    after = dict(loaded(adapter=adapter, dtype=dtype).model.named_parameters())

    assert set(after) == set(before)
    seen = 0
    for name, weight in before.items():
        key = f"base_model.model.{name.removesuffix('.weight')}.lora_{{}}.weight"
        wanted = weight.to(getattr(torch, dtype)).float()
        if key.format("A") in tensors:
            wanted = wanted + tensors[key.format("B")] @ tensors[key.format("A")] * (ALPHA / RANK)
            seen += 1
        rounding = {"float32": 1e-6, "float16": 2**-10, "bfloat16": 2**-7}[dtype] * wanted.abs().max().item()
        assert after[name].dtype == getattr(torch, dtype)
        torch.testing.assert_close(after[name].float(), wanted, atol=rounding, rtol=0)
    assert seen == 14  # seven in each of two layers


def test_a_merged_adapter_answers_as_one_beside_the_weights(loaded, trained):
    import torch

    adapter = trained()
    torch.testing.assert_close(logits(loaded(adapter=adapter.folder).model), adapter.logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits(loaded().model), adapter.logits, atol=0.1)


def kinds():
    import peft

    few = {"target_modules": ["q_proj", "v_proj"]}
    return {
        "rank-stabilised": peft.LoraConfig(r=RANK, use_rslora=True, **few),
        "DoRA": peft.LoraConfig(r=RANK, use_dora=True, **few),
        "with whole modules": peft.LoraConfig(r=RANK, modules_to_save=["lm_head", "embed_tokens"], **few),
        "of embeddings": peft.LoraConfig(r=RANK, target_modules=["q_proj", "embed_tokens", "lm_head"]),
        "of some tokens": peft.LoraConfig(r=RANK, trainable_token_indices=[5, 6], **few),
        "IA3": peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "LoHa": peft.LoHaConfig(r=RANK, **few),
        "norms": peft.LNTuningConfig(target_modules=["input_layernorm"]),
    }


@pytest.mark.parametrize("kind", [*kinds()])
def test_adapters_of_other_kinds_are_merged_too(loaded, trained, kind):
    import torch

    adapter = trained(config=kinds()[kind])
    torch.testing.assert_close(logits(loaded(adapter=adapter.folder).model), adapter.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]])
def test_embeddings_that_share_weights_are_not_both_changed_by_a_change_of_one(
    loaded, trained, copy_of, settings, changes
):
    import peft
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    folder = copy_of("llama")
    torch.manual_seed(3)
    config = AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = True
    LlamaForCausalLM(config).save_pretrained(folder)
    adapter = trained(folder, peft.LoraConfig(r=RANK, target_modules=["q_proj", *changes]), base_model_name_or_path="")

    found = logits(loaded(folder, adapter.folder).model)

    torch.testing.assert_close(found, adapter.logits, atol=1e-4, rtol=1e-4)


def test_the_linear_layers_of_gpt2_are_merged_though_they_lie_the_other_way_round(loaded, trained):
    import peft
    import torch

    adapter = trained("gpt2", peft.LoraConfig(r=RANK, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True))
    found = logits(loaded("gpt2", adapter.folder).model)
    torch.testing.assert_close(found, adapter.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "way", [{"modules_to_save": ["embed_tokens", "lm_head"]}, {"trainable_token_indices": [7, 365]}, {}]
)
def test_tokens_that_training_added_are_there(loaded, trained, way):
    import peft
    import torch

    adapter = trained(config=peft.LoraConfig(r=RANK, target_modules=["q_proj"], **way), resize=368)
    found = loaded(adapter=adapter.folder)
    assert found.vocabulary == 368
    torch.testing.assert_close(logits(found.model), adapter.logits, atol=1e-4, rtol=1e-4)


def test_a_checkpoint_may_be_an_adapter(loaded, trained):
    import torch

    adapter = trained()
    checkpoint = Checkpoint(name="step-1", path=str(adapter.folder), created_at="2026-01-01T00:00:00Z")
    found = logits(loaded(checkpoint=checkpoint).model)
    torch.testing.assert_close(found, adapter.logits, atol=1e-4, rtol=1e-4)


def test_an_adapter_may_be_laid_over_a_checkpoint(loaded, trained):
    import torch

    adapter = trained()
    checkpoint = Checkpoint(name="step-1", path="llama", created_at="2026-01-01T00:00:00Z")
    found = logits(loaded("not-here", adapter.folder, checkpoint).model)
    torch.testing.assert_close(found, adapter.logits, atol=1e-4, rtol=1e-4)


def test_an_adapter_trained_on_a_model_of_another_name_is_warned_of(loaded, trained, caplog):
    adapter = trained(base_model_name_or_path="meta/Other-7B").folder
    with caplog.at_level(logging.WARNING):
        loaded(adapter=adapter)
    assert "was trained on 'meta/Other-7B' and is laid over" in caplog.text


def test_an_adapter_trained_on_the_same_name_elsewhere_is_not(loaded, trained, caplog):
    adapter = trained(base_model_name_or_path="elsewhere/Llama").folder
    with caplog.at_level(logging.WARNING):
        loaded(adapter=adapter)
    assert caplog.text == ""


def test_tokens_that_were_added_to_the_input_alone_are_refused(loaded, trained):
    import peft

    config = peft.LoraConfig(r=RANK, target_modules=["q_proj", "embed_tokens"])
    with pytest.raises(InvalidData, match="has input embeddings of 368 tokens, but not as many output embeddings"):
        loaded(adapter=trained(config=config, resize=368).folder)


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_an_adapter_cut_short_is_named_with_its_file(loaded, trained, keep):
    path = trained().folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidData, match=rf"model 'tiny': {path} .*half-written"):
        loaded(adapter=path.parent)


def test_an_adapter_whose_config_is_cut_short_is_named_with_its_file(loaded, trained):
    path = trained().folder / "adapter_config.json"
    path.write_text('{"peft_type": ')
    with pytest.raises(InvalidData, match=rf"model 'tiny': {path} is not readable JSON"):
        loaded(adapter=path.parent)


def test_an_adapter_of_another_architecture_names_the_modules(loaded, trained):
    with pytest.raises(InvalidData, match=r"Target modules .*q_proj.* not found in the base model.*another architect"):
        loaded("gpt2", trained().folder)


def test_an_adapter_of_another_shape_names_the_module_and_both_shapes(loaded, trained):
    adapter = trained(r=8).folder
    with pytest.raises(
        InvalidData,
        match=r"its model\.layers\.0\.self_attn\.q_proj\.lora_A\.weight has shape \(4, 48\) where .* needs \(8, 48\)",
    ):
        loaded(adapter=adapter)


def test_an_adapter_of_a_deeper_model_names_a_module_too_many(loaded, trained):
    adapter = trained().folder
    deeper = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"
    changed(adapter, lambda tensors: tensors.update({deeper: next(iter(tensors.values())).clone()}))
    with pytest.raises(InvalidData, match=r"changes model\.layers\.7\.self_attn\.q_proj\.lora_A\.weight, which .* not"):
        loaded(adapter=adapter)


def test_an_adapter_with_a_tensor_lost_names_it_and_does_not_answer_with_half_of_itself(loaded, trained):
    adapter = trained().folder
    lost = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"
    changed(adapter, lambda tensors: tensors.pop(lost))
    with pytest.raises(InvalidData, match=r"lacks 1 tensor\(s\) .*model\.layers\.1\.mlp\.up_proj\.lora_B\.weight"):
        loaded(adapter=adapter)


def test_an_adapter_that_is_no_numbers_is_invalid_data(loaded, trained):
    adapter = trained().folder
    changed(adapter, lambda tensors: next(iter(tensors.values())).fill_(float("nan")))
    with pytest.raises(InvalidData, match="NaNs detected in the merged weights"):
        loaded(adapter=adapter)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"task_type": "SEQ_CLS"}, "task_type 'SEQ_CLS'; only CAUSAL_LM can answer"),
        ({"peft_type": "PROMPT_TUNING"}, "of type PROMPT_TUNING: tokens put before each prompt"),
        ({"peft_type": "PREFIX_TUNING"}, "of type PREFIX_TUNING: tokens put before each prompt"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused(loaded, trained, edits, said):
    with pytest.raises(InputError, match=said):
        loaded(adapter=trained(**edits).folder)


def test_an_adapter_of_a_type_that_peft_does_not_know_is_invalid_data(loaded, trained):
    with pytest.raises(InvalidData, match=r"KeyError: 'BRAND_NEW'.* of a newer version of peft"):
        loaded(adapter=trained(peft_type="BRAND_NEW").folder)


def test_an_adapter_over_quantised_weights_is_refused(loaded, trained, copy_of):
    adapter, folder = trained().folder, copy_of("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "fp8"}}))
    with pytest.raises(InputError, match=r"is quantised \(fp8\), and an adapter cannot be merged"):
        loaded(folder, adapter)


def test_tokens_of_an_adapters_own_tokenizer_are_read_with_it(loaded, trained, models):
    import peft
    from transformers import AutoTokenizer

    config = peft.LoraConfig(r=RANK, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    adapter = trained(config=config, resize=361).folder
    tokenizer = AutoTokenizer.from_pretrained(models / "llama")
    tokenizer.add_tokens(["<|think|>"], special_tokens=True)
    tokenizer.save_pretrained(adapter)
    assert loaded(adapter=adapter).tokens.of_bare("<|think|>") == [360]


def test_weights_that_are_not_all_on_gpus_cannot_take_an_adapter(trained, models):
    adapter, network = trained().folder, plain(models / "llama")
    network.hf_device_map = {"model": 0, "lm_head": "cpu"}  # as device_map leaves it where the GPUs are too small
    with pytest.raises(InputError, match=r"device_map left some weights of .* to cpu, for want of room on the GPUs"):
        adapters.merged(network, Place.at(adapter), Place.at(models / "llama"), "model 'tiny'")


def test_a_model_with_an_adapter_opens_and_answers(spec, settings, trained, request_of):
    from llm_eval.specs import Generation

    model = TransformersModel.open(spec("llama", adapter_path=str(trained().folder)), None, "demo", settings)
    request = request_of("a", "choices", "Water boils", (" A", " B"))
    (response,) = model.answer([request], Generation())
    model.close()
    assert response.error is None
    assert len(response.likelihoods) == 2
