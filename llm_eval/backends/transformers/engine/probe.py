"""Whether a loaded model can be packed: asked of the model itself, on a few tokens, before it answers anything."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from llm_eval.backends.transformers.engine import attention
from llm_eval.backends.transformers.engine.attention import Writing
from llm_eval.backends.transformers.engine.memory import Room
from llm_eval.backends.transformers.engine.packing import Limits
from llm_eval.backends.transformers.engine.prefixes import Node
from llm_eval.backends.transformers.engine.reading import Reader
from llm_eval.backends.transformers.engine.slots import Slots
from llm_eval.backends.transformers.loading import Loaded, Unpackable
from llm_eval.errors import RunFailed

# Largest difference of a logit to the plain pass, in standard deviations of the logits: rounding stays well below,
# another kind of attention is far above.
_TOLERANCE = {torch.float32: 2e-3, torch.float16: 0.05, torch.bfloat16: 0.25}
_QUANTILE = {torch.float16: 0.75, torch.bfloat16: 0.75}  # of the positions: rounding may choose another expert
# Tokens of the trial's tree: a trunk, a node on it, two ends of that node, and what is written after the ends. Few:
# on a large model and a CPU each costs a tenth of a second. Fewer still where the context is small.
_TRUNK, _NODE, _ENDS, _WRITTEN = 72, 3, (4, 5), 2
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}


class Cost(NamedTuple):
    """Bytes of one token's keys and values in all layers, and of one row of logits in float32."""

    kv_bytes: int
    logit_bytes: int


def switch_to_packed(loaded: Loaded) -> Cost:
    """Give the model our attention, and see that it still says the same. Raises Unpackable, the model as it was."""
    _check_config(loaded)
    before = loaded.model.config._attn_implementation
    trial = Trial.of(loaded)
    try:
        expected = _plainly(loaded, trial.sequence)
        attention.register()
        loaded.model.set_attn_implementation(attention.NAME)
        kv_bytes = trial.run(loaded, expected)
    except (RunFailed, RuntimeError, ValueError, KeyError, AttributeError, TypeError, Unpackable) as error:
        loaded.model.set_attn_implementation(before)
        if isinstance(error, Unpackable):
            raise
        raise Unpackable(f"a trial of it failed ({type(error).__name__}: {error})") from error
    return Cost(kv_bytes, 4 * expected.shape[-1])


def rotary_limit(loaded: Loaded) -> int | None:
    """Tokens beyond which the length of what is read decides where each token is thought to stand; mostly None.

    Dynamic and long rotary embeddings take the longest sequence of a pass, and dynamic ones remember it. Such a model
    answers as by itself only where every sequence is read by itself, and whole.
    """
    config = loaded.model.config.get_text_config()
    rotary = getattr(config, "rope_parameters", None) or {}
    kinds = [rotary, *(part for part in rotary.values() if isinstance(part, dict))]
    limits: list[int] = [
        part.get("original_max_position_embeddings") or config.max_position_embeddings
        for part in kinds
        if part.get("rope_type") in ("dynamic", "longrope")
    ]
    return min(limits) if limits and (loaded.context_tokens or torch.inf) > min(limits) else None


def _check_config(loaded: Loaded) -> None:
    if loaded.is_encoder_decoder:
        raise Unpackable("it is an encoder-decoder")
    config = loaded.model.config.get_text_config()
    if (limit := rotary_limit(loaded)) is not None:
        raise Unpackable(
            f"beyond {limit} tokens the longest sequence that is read decides where the tokens of all stand; "
            f"context_tokens of at most {limit} would do"
        )
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


def _plainly(loaded: Loaded, ids: list[int]) -> Tensor:
    logits: Tensor = loaded.forward(torch.tensor([ids], device=loaded.device), use_cache=False).logits[0]
    return logits.float()


@dataclass(frozen=True, slots=True)
class Trial:
    """Tokens of the trunk, of the node, of each of its ends, and of what is written after each end."""

    trunk: list[int]
    node: list[int]
    ends: list[list[int]]
    written: list[list[int]]

    @classmethod
    def of(cls, loaded: Loaded) -> Trial:
        """Tokens that are all different as far as the vocabulary goes."""
        scale = min(1.0, (loaded.context_tokens or torch.inf) / (_TRUNK + _NODE + max(_ENDS) + _WRITTEN))
        numbers = count(1)

        def some(tokens: int) -> list[int]:
            return [7919 * next(numbers) % loaded.vocabulary for _ in range(max(int(tokens * scale), 1))]

        return cls(some(_TRUNK), some(_NODE), [some(n) for n in _ENDS], [some(_WRITTEN) for _ in _ENDS])

    @property
    def sequence(self) -> list[int]:
        """Up to the first end, and what is written after it."""
        return self.trunk + self.node + self.ends[0] + self.written[0]

    def run(self, loaded: Loaded, expected: Tensor) -> int:
        """Read the trunk, then the rest in one pack under a mask, then write in slots; compare along `sequence`.

        Returns the bytes of a token's keys and values. Raises Unpackable if the logits are not those that are expected.
        """
        reader = Reader(loaded, Room(Limits(10**6, 10**6), 10**6, len(self.ends)))
        trunk = Node(self.trunk, 0, users=2)
        node = Node(self.node, trunk.end, trunk, users=2)
        leaves = [Node(end, node.end, node, users=1) for end in self.ends]
        for one in (trunk, node, leaves[0]):
            one.wanted = {position: [None] for position in range(one.start, one.end)}
        found = [reader.read(deque(nodes), keeps_all=True).logits for nodes in ([trunk], [node, *leaves])]
        slots: Slots[None] = Slots(len(leaves), 10**6, loaded.device, loaded.dtype)
        for leaf in leaves:
            slots.put(None, leaf)
        for step in range(len(self.written[0])):
            positions = [leaf.end + step for leaf in leaves]
            logits = reader.step([tokens[step] for tokens in self.written], positions, Writing(slots))
            found.append(None if logits is None else logits[:1])
            slots.advance()
        if any(logits is None for logits in found):
            raise Unpackable("there is no memory to try it")
        _compare(torch.cat([logits for logits in found if logits is not None]), expected)
        assert trunk.kept is not None
        if len(trunk.kept) != loaded.model.config.get_text_config().num_hidden_layers:
            raise Unpackable(f"only {len(trunk.kept)} of its layers have attention that can be replaced")
        return sum(t.nbytes for pair in trunk.kept.values() for t in pair) // len(self.trunk)


def _compare(found: Tensor, expected: Tensor) -> None:
    dtype = found.dtype
    off = (found.float() - expected).abs().amax(-1) / expected.std(-1)
    if not off.isfinite().all():
        return  # broken weights are told of by the answers
    worst = off.quantile(_QUANTILE.get(dtype, 1.0)).item()
    if worst > _TOLERANCE.get(dtype, 0.25):
        raise Unpackable(f"packed, its logits differ by {worst:.2g} standard deviations")
