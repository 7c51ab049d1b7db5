"""Linear layers of 16-bit models on a CPU: faster, and the same up to rounding."""

import logging

import pytest


@pytest.fixture
def network():
    """A function of a dtype: two linear layers and one on its side, as GPT-2 has them."""
    import torch
    from transformers.pytorch_utils import Conv1D

    def make(dtype: torch.dtype) -> torch.nn.Module:
        torch.manual_seed(3)
        layers = torch.nn.Linear(48, 96), torch.nn.Linear(96, 96, bias=False), Conv1D(32, 96)
        return torch.nn.Sequential(*layers).to(dtype)

    return make


@pytest.fixture
def no_native_16_bit(monkeypatch):
    """As if the CPU did not multiply 16-bit numbers itself."""
    from llm_eval.backends.transformers.engine import linears

    monkeypatch.setattr(linears, "_NATIVE", dict.fromkeys(linears._NATIVE, lambda: False))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_widened_layers_give_the_same_up_to_rounding(network, no_native_16_bit, dtype):
    import torch

    from llm_eval.backends.transformers.engine.linears import Widened, quicken

    kind = getattr(torch, dtype)
    inputs = torch.linspace(-2, 2, 5 * 48).reshape(5, 48).to(kind)
    with torch.inference_mode():
        plain, quick = network(kind), network(kind)
        quicken(quick, kind)
        expected, found = plain(inputs), quick(inputs)
    assert [type(layer) for layer in quick] == [Widened] * 3
    assert found.dtype == kind
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_float32_stays_as_it_is(network):
    import torch

    from llm_eval.backends.transformers.engine.linears import quicken

    model = network(torch.float32)
    kinds = [type(layer) for layer in model]
    quicken(model, torch.float32)
    assert [type(layer) for layer in model] == kinds


def test_without_memory_for_wider_weights_a_warning_says_what_to_do(network, no_native_16_bit, monkeypatch, caplog):
    import torch

    from llm_eval.backends.transformers.engine import linears

    monkeypatch.setattr(linears, "free_bytes", lambda device: 1000)
    model = network(torch.bfloat16)
    with caplog.at_level(logging.WARNING):
        linears.quicken(model, torch.bfloat16)
    assert not any(isinstance(layer, linears.Widened) for layer in model)
    assert "float32" in caplog.text


def test_prepacked_layers_give_the_same(network):
    """In float32, which oneDNN packs on any x86 CPU; in bfloat16 only where the CPU multiplies it."""
    import torch

    from llm_eval.backends.transformers.engine.linears import Prepacked

    layer = network(torch.float32)[0]
    inputs = torch.linspace(-2, 2, 5 * 48).reshape(5, 48)
    with torch.inference_mode():
        if not torch.backends.mkldnn.is_available():
            pytest.skip("this torch has no oneDNN")
        torch.testing.assert_close(Prepacked(layer.weight, layer.bias)(inputs), layer(inputs), atol=1e-5, rtol=1e-5)
