"""Packs: nodes of a prefix tree that are read in one forward pass, one after the other, without padding."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from llm_eval.backends.transformers.engine.prefixes import Node

# Subtrees of so few tokens are attended in one call under a mask; what is larger, node by node and merged.
_BLOCK_TOKENS = 192


@dataclass(frozen=True, slots=True)
class Limits:
    """What one forward pass may hold: `tokens` read, and `logits` rows over the vocabulary."""

    tokens: int
    logits: int

    def within(self, other: Limits) -> Limits:
        return Limits(min(self.tokens, other.tokens), min(self.logits, other.logits))

    def halved(self) -> Limits:
        return Limits(max(self.tokens // 2, 1), max(self.logits // 2, 1))


class Span(NamedTuple):
    """Positions of a pack, `end` excluded."""

    begin: int
    end: int

    @property
    def tokens(self) -> int:
        return self.end - self.begin


class Block(NamedTuple):
    """Tokens that attend to each other: causally where `mask` is None, else as it says.

    mask: (token, token), True where the row's token sees the column's.
    """

    span: Span
    mask: np.ndarray | None


class Reach(NamedTuple):
    """Tokens that see all of a node before them: one read in this pack (`within`), or one kept from an earlier."""

    queries: Span
    node: Node
    within: Span | None


@dataclass(frozen=True, slots=True)
class Pack:
    """Nodes in the order of their forest, where each of them is, and the first and last node of each block."""

    nodes: list[Node]
    spans: list[Span]
    subtrees: list[tuple[int, int]]

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> Pack:
        ends = accumulate(len(node.ids) for node in nodes)
        spans = [Span(end - len(node.ids), end) for node, end in zip(nodes, ends, strict=True)]
        return cls(list(nodes), spans, _subtrees(nodes))

    @property
    def tokens(self) -> int:
        return self.spans[-1].end

    @property
    def ids(self) -> list[int]:
        return [token for node in self.nodes for token in node.ids]

    @property
    def positions(self) -> list[int]:
        """Of each token in its own sequence."""
        return [position for node in self.nodes for position in range(node.start, node.end)]

    def blocks(self) -> Iterator[Block]:
        """Every token is in exactly one."""
        for first, last in self.subtrees:
            span = Span(self.spans[first].begin, self.spans[last].end)
            yield Block(span, None if first == last else self._mask(first, last))

    def reaches(self) -> Iterator[Reach]:
        """For every token, the nodes before it that are not in its block."""
        block_of = {self.nodes[i]: first for first, last in self.subtrees for i in range(first, last + 1)}
        place = dict(zip(self.nodes, self.spans, strict=True))
        seen: dict[Node, list[Span]] = {}
        for node, span in zip(self.nodes, self.spans, strict=True):
            for ancestor in node.path()[:-1]:
                if block_of.get(ancestor) == block_of[node]:
                    continue
                parts = seen.setdefault(ancestor, [])
                if parts and parts[-1].end == span.begin:
                    parts[-1] = Span(parts[-1].begin, span.end)
                else:
                    parts.append(span)
        for ancestor, parts in seen.items():
            yield from (Reach(part, ancestor, place.get(ancestor)) for part in parts)

    def _mask(self, first: int, last: int) -> np.ndarray:
        begin = self.spans[first].begin
        size = self.spans[last].end - begin
        place = {self.nodes[i]: self.spans[i] for i in range(first, last + 1)}
        mask = np.zeros((size, size), dtype=bool)
        for node, span in place.items():
            rows = slice(span.begin - begin, span.end - begin)
            mask[rows, rows] = np.tri(span.tokens, dtype=bool)
            for ancestor in node.path()[:-1]:
                if ancestor in place:
                    mask[rows, place[ancestor].begin - begin : place[ancestor].end - begin] = True
        return mask


def _subtrees(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """The largest subtrees of few tokens; a node whose subtree has more stands by itself."""
    number = {node: i for i, node in enumerate(nodes)}
    tokens = [len(node.ids) for node in nodes]
    last = list(range(len(nodes)))
    for i in reversed(range(len(nodes))):
        parent = nodes[i].parent
        if parent is not None and (above := number.get(parent)) is not None:
            tokens[above] += tokens[i]
            last[above] = max(last[above], last[i])
    found, i = [], 0
    while i < len(nodes):
        end = last[i] if tokens[i] <= _BLOCK_TOKENS else i
        found.append((i, end))
        i = end + 1
    return found


def cut(queue: deque[Node], limits: Limits, longest_prefix: int) -> list[Node]:
    """Take the nodes of the next pack from the front of `queue`, at least one; what is too long is split.

    longest_prefix: a node is split only where the part before it may be kept, at so many tokens of its path at most.
    """
    taken: list[Node] = []
    room, rows = limits.tokens, limits.logits
    while queue:
        node = queue[0]
        fits = min(room, _rows_fit(node, rows))
        if fits < len(node.ids):
            if taken:
                break
            if fits > 0 and node.start + fits <= longest_prefix:
                return [node.split(fits)]
        taken.append(queue.popleft())
        room -= len(node.ids)
        rows -= len(node.wanted)
    return taken


def _rows_fit(node: Node, rows: int) -> int:
    """Tokens of a node up to where more than `rows` of its positions are wanted."""
    wanted = sorted(node.wanted)
    return len(node.ids) if len(wanted) <= rows else wanted[rows] - node.start
