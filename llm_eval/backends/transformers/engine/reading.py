"""Reading the nodes of a forest, pack by pack, within the limits of the memory."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from llm_eval.backends.transformers.engine.attention import Frame, Reading
from llm_eval.backends.transformers.engine.memory import Room, fits
from llm_eval.backends.transformers.engine.packing import Limits, Pack, cut
from llm_eval.backends.transformers.engine.prefixes import Node
from llm_eval.backends.transformers.loading import Loaded

logger = logging.getLogger(__name__)

_FEWEST_TOKENS = 16  # a device that has no room for so many at once has no room for any sequence


@dataclass(frozen=True, slots=True)
class Read:
    """A pack that was read, or a subtree that there was no memory for.

    wanted: who asked for each row of `logits`, (row, vocabulary); None where memory was too small.
    """

    nodes: list[Node]
    wanted: list[list[Any]]
    logits: Tensor | None
    seconds: float

    @property
    def tokens(self) -> int:
        return sum(len(node.ids) for node in self.nodes)


class Reader:
    """One model's forward passes over packs. `limits` shrink when memory was full, and stay so."""

    def __init__(self, loaded: Loaded, room: Room) -> None:
        self.loaded = loaded
        self.limits = room.limits
        self.cache_tokens = room.cache_tokens

    @property
    def longest_prefix(self) -> int:
        """Tokens of a path whose keys and values may be kept while others are read."""
        return self.cache_tokens // 2

    def read(self, queue: deque[Node], *, leaves: int | None = None, keeps_all: bool = False) -> Read:
        """Read the next pack of `queue`, which is in the order of its forest.

        leaves: positions wanted at most; None for as many as the limits allow. keeps_all: keep keys and values of
        every node, not only of those with others to come below them. Raises BackendLost and RunFailed as Loaded does.
        """
        while True:
            limits = self.limits if leaves is None else replace(self.limits, logits=min(leaves, self.limits.logits))
            begun = time.perf_counter()
            nodes = cut(queue, limits, self.longest_prefix)
            pack = Pack.of(nodes)
            wanted = [(i, p) for i, node in enumerate(nodes) for p in sorted(node.wanted)]
            logits = fits(self._pass, pack, wanted, keeps_all)
            seconds = time.perf_counter() - begun
            if logits is not None:
                return Read(nodes, [nodes[i].wanted[p] for i, p in wanted], logits, seconds)
            if pack.tokens <= _FEWEST_TOKENS:
                return self._without(queue, nodes, seconds)
            queue.extendleft(reversed(nodes))
            self.limits = Limits(pack.tokens, len(wanted) or 1).within(self.limits).halved()
            logger.warning("out of memory with %d tokens at once, going on with %d", pack.tokens, self.limits.tokens)

    def step(self, ids: list[int], positions: list[int], frame: Frame) -> Tensor | None:
        """Logits after one token for each of several answers, (row, vocabulary); None if memory was full."""
        return fits(self._logits, ids, positions, frame, list(range(len(ids))))

    def _pass(self, pack: Pack, wanted: list[tuple[int, int]], keeps_all: bool) -> Tensor:
        keeps = [True] * len(pack.nodes) if keeps_all else _with_more_to_come(pack.nodes)
        frame = Reading(pack, self.loaded.device, self.loaded.dtype, keeps=any(keeps))
        rows = [pack.spans[i].begin + p - pack.nodes[i].start for i, p in wanted]
        logits = self._logits(pack.ids, pack.positions, frame, rows or [pack.tokens - 1])
        kept = [frame.of(span) if keep else None for span, keep in zip(pack.spans, keeps, strict=True)]
        for node, part in zip(pack.nodes, kept, strict=True):
            node.kept = part
        return logits[: len(rows)]

    def _logits(self, ids: list[int], positions: list[int], frame: Frame, rows: list[int]) -> Tensor:
        device = self.loaded.device
        keep = torch.tensor(rows, device=device)
        logits: Tensor = self.loaded.forward(
            torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            logits_to_keep=keep,
            frame=frame,
        ).logits[0]
        return logits if len(logits) == len(rows) else logits[keep]  # code of an older time gives them all

    def _without(self, queue: deque[Node], nodes: list[Node], seconds: float) -> Read:
        """Give up the nodes and everything below them."""
        lost = set(nodes)
        while queue and queue[0].parent in lost:
            lost.add(queue.popleft())
        wanted = [who for node in lost for who in node.wanted.values()]
        return Read(list(lost), wanted, None, seconds)


def _with_more_to_come(nodes: list[Node]) -> list[bool]:
    """For each node of a pack, whether some node below it, at any depth, is not in the pack."""
    unfinished = dict.fromkeys(nodes, False)
    for node in reversed(nodes):  # children before their parents
        unfinished[node] = any(unfinished.get(child, True) for child in node.children)
    return list(unfinished.values())
