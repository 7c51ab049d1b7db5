"""Which models are packed and which are not, and that the log says so."""

import logging

import pytest


@pytest.fixture
def kind_of(load, caplog):
    """kind_of(path, **keywords): what the log says of a loaded model's attention."""

    def kind(path: object, **keywords: object) -> str:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            load(path, **keywords)
        (line,) = [r.getMessage() for r in caplog.records if "; attention " in r.getMessage()]
        return line.partition("; attention ")[2]

    return kind


@pytest.mark.parametrize("name", ["llama", "llama-bos", "gpt2"])
def test_common_models_are_packed(kind_of, name):
    assert kind_of(name) == "packed"


def test_a_user_may_ask_for_the_plain_path(kind_of):
    assert kind_of("llama", attention="plain") == "plain, as asked for"


def test_attention_that_says_something_else_is_not_packed(kind_of, monkeypatch):
    """As a model would whose attention adds what ours does not know of, but tells nobody."""
    from llm_eval.backends.transformers.engine import attention

    merge = attention.merge
    monkeypatch.setattr(attention, "merge", lambda out, sums, more, more_sums: merge(out, sums, more * 1.5, more_sums))
    assert "packed, its logits differ by" in kind_of("llama")


def test_a_window_over_the_whole_context_is_none(kind_of, copy_of):
    import json

    from transformers import MistralConfig, MistralForCausalLM

    folder = copy_of("llama")
    config = json.loads((folder / "config.json").read_text())
    shape = {name: config[name] for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 192}
    MistralForCausalLM(MistralConfig(**shape, **heads, sliding_window=32)).save_pretrained(folder)
    assert "sees 32 tokens back" in kind_of(folder)
    assert kind_of(folder, context_tokens=32) == "packed"
