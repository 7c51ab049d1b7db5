"""Pairs that plan refuses, by what the model's files say; nothing is loaded."""

import json
import os
import subprocess
import sys

import pytest

from llm_eval.backends.transformers import TransformersModel
from llm_eval.errors import InputError, InvalidData, UnsupportedRequest
from llm_eval.specs import DatasetSpec
from tests.builders import DATASET


def dataset(kind="generate", max_tokens=64) -> DatasetSpec:
    prompt = {"kind": kind, "template": "{{ input }}"} | (
        {} if kind == "generate" else {"continuation": " {{ label }}"}
    )
    metrics = {"generate": ["accuracy"], "choices": ["choice_accuracy"], "perplexity": ["perplexity"]}[kind]
    extract = ["declared_choice"] if kind == "generate" else []
    return DatasetSpec.model_validate(
        {**DATASET, "prompt": prompt, "metrics": metrics, "extract": extract, "generation": {"max_tokens": max_tokens}}
    )


@pytest.fixture
def check(spec, settings):
    """check(path, dataset, **keywords as of `spec`)."""

    def checked(path, asked=None, **keywords) -> None:
        TransformersModel.check(spec(path, **keywords), None, asked or dataset(), settings)

    return checked


def config(folder, **changes) -> object:
    """Changes its config.json; a value None leaves a key out."""
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return folder


@pytest.mark.parametrize("name", ["llama", "llama-bos", "gpt2"])
@pytest.mark.parametrize("kind", ["generate", "choices"])
def test_a_causal_model_is_taken(check, name, kind):
    check(name, dataset(kind))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model_type": "whisper", "is_encoder_decoder": True},
            "not an encoder-decoder from text to .*'whisper'",
        ),
        (
            {"model_type": "t5", "is_encoder_decoder": True, "architectures": ["T5EncoderModel"]},
            "not an encoder-decoder from text to text: config.json names T5EncoderModel",
        ),
        ({"model_type": "vit", "architectures": ["ViTModel"]}, "not a causal language model: its model_type is 'vit'"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "names BertForMaskedLM, which cannot write"),
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"]}, "is an encoder: its model_type is 'bert'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "names LlamaForSequenceClassification"),
        ({"architectures": ["LlamaModel"]}, "names LlamaModel"),
        ({"model_type": "brand_new"}, "has model_type 'brand_new', which transformers .* does not know"),
    ],
)
def test_a_model_that_is_no_causal_language_model_is_refused(check, copy_of, changes, said):
    with pytest.raises(UnsupportedRequest, match=f"model 'tiny': .*{said}"):
        check(config(copy_of("llama"), **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True},
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
        {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
        {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]},
        {"model_type": "rwkv", "architectures": ["RwkvForCausalLM"]},
        {"architectures": ["LLaMAForCausalLM"]},  # as some early conversions of Llama spell it
        {"architectures": None},
    ],
)
def test_models_of_many_names_are_taken(check, copy_of, changes):
    check(config(copy_of("llama"), **changes))


@pytest.mark.parametrize("trusted", [True, False])
def test_code_of_the_models_own_needs_trust_and_is_then_taken_at_its_word(check, copy_of, trusted):
    code = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    folder = config(copy_of("llama"), model_type="own", architectures=["Own"], auto_map=code)
    if trusted:
        check(folder, trust_remote_code=True)
    else:
        with pytest.raises(InputError, match=r"brings its own code.*backend\.trust_remote_code: true"):
            check(folder)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gpt_neox", "opt", "bloom", "falcon", "qwen3", "mamba"])
def test_a_config_as_transformers_writes_it_is_understood(check, copy_of, model_type):
    from transformers import AutoConfig, AutoModelForCausalLM

    values = json.loads(AutoConfig.for_model(model_type).to_json_string())
    name = AutoModelForCausalLM._model_mapping[type(AutoConfig.for_model(model_type))].__name__
    check(config(copy_of("llama"), **{"max_position_embeddings": None, **values}, architectures=[name]))


@pytest.mark.parametrize("model_type", ["t5", "mt5", "bart", "pegasus", "marian", "mbart", "t5gemma"])
def test_an_encoder_decoder_as_transformers_writes_it_is_taken_but_not_for_perplexity(check, copy_of, model_type):
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    its = AutoConfig.for_model(model_type)
    name = AutoModelForSeq2SeqLM._model_mapping[type(its)].__name__
    folder = config(copy_of("llama"), **json.loads(its.to_json_string()), architectures=[name])
    check(folder, dataset("generate"))
    check(folder, dataset("choices"))
    with pytest.raises(UnsupportedRequest, match=r"model 'tiny': .* is an encoder-decoder.*kind perplexity"):
        check(folder, dataset("perplexity"))


def test_relative_positions_have_no_end(check, copy_of):
    values = {"model_type": "t5", "is_encoder_decoder": True, "architectures": ["T5ForConditionalGeneration"]}
    folder = config(copy_of("llama"), **values, n_positions=64, max_position_embeddings=None)
    with pytest.raises(UnsupportedRequest, match="context of 64"):
        check(folder, dataset(max_tokens=64))
    check(config(folder, relative_attention_num_buckets=32), dataset(max_tokens=64))


@pytest.mark.parametrize(
    ("quantised", "packages"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "awq", "bits": 4}, "gptqmodel"),
        ({"quant_method": "gptq", "bits": 4}, "optimum, gptqmodel"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
    ],
)
def test_quantised_weights_without_their_package_name_it(check, copy_of, quantised, packages):
    folder = config(copy_of("llama"), quantization_config=quantised)
    with pytest.raises(InputError, match=f"which needs packages that are not installed: {packages}. Run `pip install"):
        check(folder)


def test_a_chat_model_without_a_template_is_refused(check):
    with pytest.raises(InputError, match=r"model 'tiny': chat is true, .* no chat template\. Set `chat: false`"):
        check("gpt2", chat=True)


def test_a_template_counts_wherever_the_tokenizer_keeps_it(check, copy_of):
    folder = copy_of("llama")
    check(folder, chat=True)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        check(folder, chat=True)
    values = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**values, "chat_template": template}))
    check(folder, chat=True)


def test_a_tokenizer_with_its_own_code_may_bring_a_template(check, copy_of):
    folder = copy_of("gpt2")
    values = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**values, "auto_map": {"AutoTokenizer": ["t.T", None]}}))
    check(folder, chat=True)


@pytest.mark.parametrize("max_tokens", [192, 500])
def test_answers_that_leave_no_room_for_a_prompt_are_refused(check, max_tokens):
    with pytest.raises(
        UnsupportedRequest, match=rf"answers of up to {max_tokens} tokens .* the model's context of 192"
    ):
        check("llama", dataset(max_tokens=max_tokens))


def test_answers_count_only_where_some_are_written(check):
    check("llama", dataset("choices", max_tokens=500))


def test_a_stated_context_counts_before_the_models_own(check):
    check("llama", dataset(max_tokens=500), context_tokens=600)
    with pytest.raises(UnsupportedRequest, match="context of 64"):
        check("llama", dataset(max_tokens=64), context_tokens=64)


def test_learned_positions_cannot_be_stretched(check):
    with pytest.raises(InputError, match="context_tokens is 500, but the model has positions for 192 tokens only"):
        check("gpt2", context_tokens=500)


def test_a_half_written_file_is_told_before_anything_is_queued(check, copy_of):
    path = copy_of("llama") / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(InvalidData, match=rf"model 'tiny': {path} is half-written"):
        check(path.parent)


def test_nothing_heavy_is_imported(spec, models):
    code = (
        "import sys; from llm_eval.backends.transformers import TransformersModel as T\n"
        "from llm_eval.specs import DatasetSpec, ModelSpec; from llm_eval.settings import Settings\n"
        "from pathlib import Path\n"
        f"model = ModelSpec.model_validate_json({spec('llama').model_dump_json()!r})\n"
        f"data = DatasetSpec.model_validate_json({dataset().model_dump_json()!r})\n"
        f"T.check(model, None, data, Settings('r', (), (), (Path({str(models)!r}),)))\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'peft', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
