"""Linear layers of 16-bit models on a CPU: as fast as the machine allows, rounded as the model asks.

A CPU that multiplies 16-bit numbers itself gets the weights in the order in which its kernels read them; on any other,
torch's fallback is about ten times slower than float32, so the weights are widened once: the same products, summed in
float32 as before, rounded to 16 bits as before.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from llm_eval.backends.transformers.engine.memory import GIB
from llm_eval.backends.transformers.free_memory import free_bytes

logger = logging.getLogger(__name__)

_SHARE_OF_MEMORY = 0.5  # that widened weights may take of what is free
_ROWS = 512  # that oneDNN chooses the order of the weights for
_TOLERANCE = 0.02  # of the largest output; a 16-bit number has 8 or 11 significant bits
_KINDS = {"Linear", "Conv1D"}  # torch's own, and that of GPT-2, whose weights lie on their side
_NATIVE = {
    torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
    torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
}


class Widened(torch.nn.Module):
    """A linear layer whose weights are held in float32; shapes as torch.nn.Linear."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight.float()
        self.bias = None if bias is None else bias.float()

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.nn.functional.linear(inputs.float(), self.weight, self.bias).to(inputs.dtype)


class Prepacked(torch.nn.Module):
    """A linear layer whose weights are in the order of oneDNN's kernels, instead of being put in order at each call."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
        self.bias = bias

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")
        return out


def quicken(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Replace the linear layers of a 16-bit model on a CPU, in place, where that is faster and gives the same."""
    layers = [(parent, name, layer) for parent in model.modules() for name, layer in _linears(parent)]
    if dtype not in _NATIVE or not layers or any(p.device.type != "cpu" for p in model.parameters()):
        return
    kind: type[Widened | Prepacked] = Prepacked if _NATIVE[dtype]() else Widened
    extra = sum(4 * weight.numel() for _, _, layer in layers for weight in [layer.weight])
    if kind is Widened and extra > free_bytes(torch.device("cpu")) * _SHARE_OF_MEMORY:
        logger.warning(
            "this CPU does not multiply %s itself, and %.1f GiB for float32 weights are not free: many times slower. "
            "Set backend.dtype: float32, or use a machine with more memory or a GPU.",
            str(dtype).removeprefix("torch."),
            extra / GIB,
        )
        return
    if not _is_same(layers[0][2], kind, dtype):
        return
    for parent, name, layer in layers:
        setattr(parent, name, kind(*_weight_and_bias(layer)))


def _linears(parent: torch.nn.Module) -> list[tuple[str, Any]]:
    """Children that are plain linear layers. Subclasses (adapters, quantised layers) have their own arithmetic."""
    return [(name, child) for name, child in parent.named_children() if type(child).__name__ in _KINDS]


def _weight_and_bias(layer: Any) -> tuple[Tensor, Tensor | None]:
    weight: Tensor = layer.weight.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    return (weight if type(layer) is torch.nn.Linear else weight.t().contiguous()), bias


def _is_same(layer: Any, kind: type[Widened | Prepacked], dtype: torch.dtype) -> bool:
    """Whether the kernel is there and agrees with the library's, up to the order of a sum."""
    weight, bias = _weight_and_bias(layer)
    inputs = torch.linspace(-1, 1, 2 * weight.shape[1]).reshape(2, -1).to(dtype)
    with torch.inference_mode():
        expected = layer(inputs).float()
        try:
            found = kind(weight, bias)(inputs).float()
        except (RuntimeError, NotImplementedError, AttributeError):
            return False
    return bool(((found - expected).abs() <= _TOLERANCE * expected.abs().amax()).all())
