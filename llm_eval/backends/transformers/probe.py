"""Whether a loaded model can be packed: asked of the model itself, on a few tokens, before it answers anything."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from llm_eval.backends.transformers import attention
from llm_eval.backends.transformers.attention import Writing
from llm_eval.backends.transformers.loading import Loaded, Unpackable
from llm_eval.backends.transformers.memory import Room
from llm_eval.backends.transformers.packing import Limits
from llm_eval.backends.transformers.prefixes import Node
from llm_eval.backends.transformers.reading import Reader
from llm_eval.backends.transformers.slots import Slots
from llm_eval.errors import RunFailed

# Largest difference of a logit to the plain pass, in standard deviations of the logits: rounding stays well below,
# another kind of attention is far above.
_TOLERANCE = {torch.float32: 2e-3, torch.float16: 0.05, torch.bfloat16: 0.25}
_QUANTILE = {torch.float16: 0.75, torch.bfloat16: 0.75}  # of the positions: rounding may choose another expert
_SHARED, _TAILS, _WRITTEN = 72, (7, 12), 2  # tokens; fewer where the context is small
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}


class Cost(NamedTuple):
    """Bytes of one token's keys and values in all layers, and of one row of logits in float32."""

    kv_bytes: int
    logit_bytes: int


def switch_to_packed(loaded: Loaded) -> Cost:
    """Give the model our attention, and see that it still says the same. Raises Unpackable, the model as it was."""
    _check_config(loaded)
    before = loaded.model.config._attn_implementation
    beginning, ends = _sequences(loaded)
    try:
        expected = [_plainly(loaded, beginning + end)[len(beginning) :] for end in ends]
        attention.register()
        loaded.model.set_attn_implementation(attention.NAME)
        kv_bytes = _try(loaded, beginning, ends, expected)
    except (RunFailed, RuntimeError, ValueError, KeyError, AttributeError, TypeError, Unpackable) as error:
        loaded.model.set_attn_implementation(before)
        if isinstance(error, Unpackable):
            raise
        raise Unpackable(f"a trial of it failed ({type(error).__name__}: {error})") from error
    return Cost(kv_bytes, 4 * expected[0].shape[-1])


def _check_config(loaded: Loaded) -> None:
    config = loaded.model.config.get_text_config()
    if missing := {"frame", "position_ids"} - loaded.accepts:
        raise Unpackable(f"its code takes no {' and no '.join(sorted(missing))}")
    if len(set((getattr(loaded.model, "hf_device_map", None) or {}).values())) > 1:
        raise Unpackable("it is spread over several devices")
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - _KNOWN_LAYERS:
        raise Unpackable(f"it has layers of kind {', '.join(sorted(kinds - _KNOWN_LAYERS))}")
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in kinds if kinds else getattr(config, "use_sliding_window", True)
    if window is not None and slides and window < (loaded.context_tokens or torch.inf):
        raise Unpackable(
            f"its attention sees {window} tokens back and its context has {loaded.context_tokens or 'no limit'}; "
            f"context_tokens of at most {window} would do"
        )


def _sequences(loaded: Loaded) -> tuple[list[int], list[list[int]]]:
    """A beginning and two ends of it, their tokens different as far as the vocabulary goes."""
    scale = min(1.0, (loaded.context_tokens or torch.inf) / (_SHARED + max(_TAILS) + _WRITTEN + 1))
    shared, *tails = (max(int(n * scale), 1) for n in (_SHARED, *_TAILS))
    numbers = iter(range(shared + sum(tails) + 2 * _WRITTEN))

    def some(count: int) -> list[int]:
        return [7919 * (next(numbers) + 1) % loaded.vocabulary for _ in range(count)]

    return some(shared), [some(tail + _WRITTEN) for tail in tails]


def _plainly(loaded: Loaded, ids: list[int]) -> Tensor:
    logits: Tensor = loaded.forward(torch.tensor([ids], device=loaded.device), use_cache=False).logits[0]
    return logits.float()


def _try(loaded: Loaded, beginning: list[int], ends: list[list[int]], expected: list[Tensor]) -> int:
    """Read the ends in one pack with their beginning, then after it was kept, then write their last tokens in slots.

    Returns the bytes of a token's keys and values. Raises Unpackable if the logits are not those that are expected.
    """
    reader = Reader(loaded, Room(Limits(len(beginning) + 100, len(beginning) + 100), 10**6, len(ends)))
    tails = [end[:-_WRITTEN] for end in ends]
    together = torch.cat([logits[: len(tail)] for logits, tail in zip(expected, tails, strict=True)])
    trunk, leaves = _tree(beginning, tails)
    _compare(reader.read(deque([trunk, *leaves])).logits, together)
    trunk, leaves = _tree(beginning, tails)
    reader.read(deque([trunk]), keeps_all=True)
    _compare(reader.read(deque(leaves), keeps_all=True).logits, together)
    assert trunk.kept is not None
    slots: Slots[int] = Slots(len(ends), 10**6, loaded.device, loaded.dtype)
    for number, leaf in enumerate(leaves):
        slots.put(number, leaf)
    for step in range(_WRITTEN):
        at = [len(tail) + step for tail in tails]
        tokens = [end[i] for end, i in zip(ends, at, strict=True)]
        found = reader.step(tokens, [len(beginning) + i for i in at], Writing(slots))
        slots.advance()
        _compare(found, torch.stack([logits[i] for logits, i in zip(expected, at, strict=True)]))
    if len(trunk.kept) != loaded.model.config.get_text_config().num_hidden_layers:
        raise Unpackable(f"only {len(trunk.kept)} of its layers have attention that can be replaced")
    return sum(t.nbytes for pair in trunk.kept.values() for t in pair) // len(beginning)


def _tree(beginning: list[int], tails: list[list[int]]) -> tuple[Node, list[Node]]:
    trunk = Node(beginning, 0, users=len(tails))
    trunk.children = [Node(tail, trunk.end, trunk, users=1) for tail in tails]
    for leaf in trunk.children:
        for position in range(leaf.start, leaf.end):
            leaf.want(position, None)
    return trunk, trunk.children


def _compare(found: Tensor | None, expected: Tensor) -> None:
    if found is None:
        raise Unpackable("there is no memory to try it")
    dtype = found.dtype
    off = (found.float() - expected).abs().amax(-1) / expected.std(-1)
    if not off.isfinite().all():
        return  # broken weights are told of by the answers
    worst = off.quantile(_QUANTILE.get(dtype, 1.0)).item()
    if worst > _TOLERANCE.get(dtype, 0.25):
        raise Unpackable(f"packed, its logits differ by {worst:.2g} standard deviations")
