"""How much is read at once: from the free memory and the model's size, and less after it was full."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from llm_eval.backends.transformers.engine.packing import Limits
from llm_eval.backends.transformers.explain import is_out_of_memory
from llm_eval.backends.transformers.free_memory import free_bytes
from llm_eval.errors import BackendLost
from llm_eval.specs import TransformersBackend

if TYPE_CHECKING:
    from llm_eval.backends.transformers.loading import Loaded

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

GIB = 1 << 30

# Beyond so many tokens a pass gets no faster: a core's caches are full, or a GPU's multiplications.
_TOKENS = {"cpu": 1024, "cuda": 16384}
_SLOTS = {"cpu": 64, "cuda": 256}
_LOGIT_BYTES = 512 << 20
_SHARE = 8  # of the free memory: one for a pass, one for the logits, one for keys and values
_WIDTHS_OF_A_TOKEN = 16  # float32 vectors of the hidden size that a layer holds at once, generously


@dataclass(frozen=True, slots=True)
class Room:
    """limits: of one pass. cache_tokens: tokens whose keys and values may be held. slots: answers written at once."""

    limits: Limits
    cache_tokens: int
    slots: int

    def part(self, share: float) -> Room:
        """The same for a share in (0, 1] of the memory; nothing falls below one."""
        limits = Limits(max(int(self.limits.tokens * share), 1), max(int(self.limits.logits * share), 1))
        return Room(limits, max(int(self.cache_tokens * share), 1), max(int(self.slots * share), 1))


def room(loaded: Loaded, spec: TransformersBackend, kv_bytes: int, logit_bytes: int) -> Room:
    """What fits.

    kv_bytes: of one token's keys and values in all layers. logit_bytes: of one row over the vocabulary in float32.
    """
    kind = loaded.device.type
    free = free_bytes(loaded.device)
    config = loaded.model.config.get_text_config()
    hidden = getattr(config, "hidden_size", 1024)
    wide = getattr(config, "intermediate_size", None) or 4 * hidden
    a_token = 4 * (_WIDTHS_OF_A_TOKEN * hidden + 4 * wide)
    if spec.batch_tokens == "auto":
        tokens = max(min(free // _SHARE // a_token, _TOKENS.get(kind, 1024)), 1)
    else:
        tokens = spec.batch_tokens
    cache = free // _SHARE if spec.cache_gib == "auto" else int(spec.cache_gib * GIB)
    rows = max(min(free // _SHARE, _LOGIT_BYTES) // (3 * logit_bytes), 1)  # as they come, in float32, exponentials
    return Room(Limits(tokens, rows), max(cache // max(kv_bytes, 1), 1), _SLOTS.get(kind, 64))


def fits(work: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T | None:
    """What `work` gives for these arguments; None if the memory was full.

    Raises BackendLost if the accelerator fails otherwise. A function of its own: the traceback holds tensors, and is
    gone after it.
    """
    import torch

    try:
        return work(*args, **keywords)
    except torch.AcceleratorError as error:
        if not is_out_of_memory(error):
            raise BackendLost(f"the accelerator failed: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
