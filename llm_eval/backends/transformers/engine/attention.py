"""Attention over packs and slots: the function that stands in for a model's own, through transformers' interface.

What a token sees is computed in parts (the tokens beside it, each node before it), and the parts are merged by the
logarithms of their sums of exponentials, as in FlashDecoding (Dao et al. 2023) and Hydragen (Juravsky et al. 2024).
Source of the merge: Milakov & Gimelshein 2018, "Online normalizer calculation for softmax".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from llm_eval.backends.transformers.engine.packing import Pack, Reach, Span
from llm_eval.backends.transformers.engine.prefixes import KeysValues
from llm_eval.backends.transformers.loading import Unpackable

if TYPE_CHECKING:
    from llm_eval.backends.transformers.engine.slots import Slots

NAME = "llm_eval_packed"

# What some models add to plain causal attention; none of it is known here. A sliding window is: see probe.py.
_UNKNOWN = ("softcap", "s_aux", "position_bias", "head_mask", "alibi")


class Frame(Protocol):
    """What one forward pass reads, and what each of its tokens sees."""

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Shapes: queries (head, token, dimension), keys and values (key head, token, dimension); as queries."""
        ...


def register() -> None:
    """Make the packed attention known to transformers under NAME."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attention)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    frame: Frame | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' calling convention; shapes (1, head, token, dimension), returns (1, token, head, dimension)."""
    if frame is None:
        raise Unpackable("its code does not hand arguments on to its attention")
    added = [name for name in _UNKNOWN if others.get(name) is not None]
    if added or attention_mask is not None:
        raise Unpackable(f"its attention uses {', '.join(added) or 'a mask of its own'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    out = frame.attend(module.layer_idx, query[0], key[0], value[0], scale)
    return out.transpose(0, 1)[None], None


class Reading:
    """A pack that is read. `keeps`: whether keys and values of all its tokens are wanted afterwards, in `read`."""

    def __init__(self, pack: Pack, device: torch.device, dtype: torch.dtype, *, keeps: bool) -> None:
        blocks = list(pack.blocks())
        self._spans = [block.span for block in blocks]
        self._masks = [None if b.mask is None else _additive(b.mask, device, dtype) for b in blocks]
        self._read_any = False
        self._reaches = list(pack.reaches())
        self._keeps = keeps
        self.read: KeysValues = {}

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        heads, tokens, _ = queries.shape
        if not self._read_any:  # the heads of a group stand one below the other, see `_grouped`
            self._masks = [m if m is None else m.repeat(heads // keys.shape[0], 1) for m in self._masks]
            self._read_any = True
        out = queries.new_empty(heads, tokens, values.shape[-1])
        sums = torch.empty(heads, tokens, dtype=torch.float32, device=queries.device)
        for span, mask in zip(self._spans, self._masks, strict=True):
            part = slice(*span)
            out[:, part], sums[:, part] = _grouped(
                queries[:, part], keys[:, part], values[:, part], scale, causal=mask is None, mask=mask
            )
        for reach in self._reaches:
            part = slice(*reach.queries)
            before = _before(reach, layer, keys, values)
            merge(out[:, part], sums[:, part], *_grouped(queries[:, part], *before, scale))
        if self._keeps:
            self.read[layer] = (keys, values)
        return out

    def of(self, span: Span) -> KeysValues:
        """Copies of a node's keys and values, so that those of the rest of the pack can be forgotten."""
        part = slice(*span)
        return {layer: (_copy(k[:, part]), _copy(v[:, part])) for layer, (k, v) in self.read.items()}


def _copy(part: Tensor) -> Tensor:
    return part.clone(memory_format=torch.contiguous_format)


def _before(reach: Reach, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    if reach.within is not None:
        part = slice(*reach.within)
        return keys[:, part], values[:, part]
    assert reach.node.kept is not None
    return reach.node.kept[layer]


class Writing:
    """One more token for each of the answers in the slots."""

    def __init__(self, slots: Slots[Any]) -> None:
        self._slots = slots
        self._mask = slots.mask()
        self._groups = slots.groups()

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        heads, rows, size = queries.shape
        own_keys, own_values = self._slots.append(layer, keys, values)
        groups = heads // keys.shape[0]
        asked = queries.transpose(0, 1).reshape(rows, -1, groups, size)
        out, sums = attend(asked, own_keys, own_values, scale, mask=self._mask.expand(-1, -1, groups, -1))
        out = out.reshape(rows, heads, -1).transpose(0, 1)
        sums = sums.reshape(rows, heads).transpose(0, 1)
        for node, members in self._groups:
            assert node.kept is not None
            before = node.kept[layer]
            if members is None:
                merge(out, sums, *_grouped(queries, *before, scale))
            else:
                some, its_sums = out[:, members], sums[:, members]
                merge(some, its_sums, *_grouped(queries[:, members], *before, scale))
                out[:, members], sums[:, members] = some, its_sums
        return out


def merge(out: Tensor, sums: Tensor, more: Tensor, more_sums: Tensor) -> None:
    """Add a part to `out` in place.

    Shapes: out (head, token, dimension); sums (head, token), logarithms of sums of exponentials, float32.
    """
    share = torch.sigmoid(more_sums - sums)[..., None]
    if out.dtype == torch.float32:
        out.lerp_(more, share)
    else:
        out.copy_(torch.lerp(out.float(), more.float(), share))
    torch.logaddexp(sums, more_sums, out=sums)


def _grouped(
    queries: Tensor, keys: Tensor, values: Tensor, scale: float, *, causal: bool = False, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`attend` for queries (head, token, dimension) where several heads share their keys (Ainslie et al. 2023).

    But for causal order, the heads of a group are as good as more tokens: nothing is repeated. A mask, (head of a
    group and token, other token), says for each of them what it sees.
    """
    heads, tokens, size = queries.shape
    shared, _, value_size = values.shape
    if causal:
        repeats = heads // shared
        keys, values = (t.repeat_interleave(repeats, 0) if repeats > 1 else t for t in (keys, values))
    else:
        queries = queries.reshape(shared, -1, size)
    mask = None if mask is None else mask[None, None]
    out, sums = attend(queries[None], keys[None], values[None], scale, causal=causal, mask=mask)
    return out[0].reshape(heads, tokens, value_size), sums[0].reshape(heads, tokens)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, scale: float, *, causal: bool = False, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(scale * queries keysᵀ + mask) values, and the logarithm of each softmax's sum of exponentials, float32.

    Shapes: queries (batch, head, token, dimension), keys and values (batch, head, other token, dimension), mask
    (batch or 1, 1, token, other token) of the queries' dtype; results as queries, and (batch, head, token).
    """
    aten = torch.ops.aten
    if queries.device.type == "cpu":
        out, sums = aten._scaled_dot_product_flash_attention_for_cpu(
            queries, keys, values, 0.0, causal, attn_mask=mask, scale=scale
        )
        return out, sums
    if queries.device.type == "cuda" and mask is None and queries.shape[-1] % 8 == 0:
        out, sums, *_ = aten._scaled_dot_product_efficient_attention(
            queries, keys, values, None, True, 0.0, causal, scale=scale
        )
        return out, sums[..., : queries.shape[2]]  # padded to a multiple of 32
    return by_hand(queries, keys, values, scale, causal=causal, mask=mask)


def by_hand(
    queries: Tensor, keys: Tensor, values: Tensor, scale: float, *, causal: bool = False, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`attend` where no fused kernel gives the sums: scores in float32, as many as queries times keys."""
    scores = (queries.float() @ keys.float().transpose(-1, -2)) * scale
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    if mask is not None:
        scores = scores + mask
    return (scores.softmax(-1) @ values.float()).to(queries.dtype), scores.logsumexp(-1)


def _additive(mask: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    visible = torch.from_numpy(mask).to(device)
    return torch.zeros(mask.shape, dtype=dtype, device=device).masked_fill_(~visible, -torch.inf)
