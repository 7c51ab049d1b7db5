"""Prefixes that several sequences of tokens share, as a tree in which every token stands once.

A compressed radix tree: a node is a run of tokens, its ancestors are what stands before it, and every sequence ends in
a leaf of its own. Reading the nodes instead of the sequences is what saves the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

KeysValues: TypeAlias = "dict[int, tuple[Tensor, Tensor]]"
"""Layer → keys and values, each of shape (key head, token, dimension)."""

# A node costs one more attention call and one merge for all that stands below it: it must save more than that.
_FEWEST_SAVED = 32
_LEAST_SHARE_SAVED = 0.02


@dataclass(slots=True, eq=False)
class Node:
    """A run of tokens and what stands before it.

    start: position of its first token in the sequences that hold it. wanted: position → who needs the logits there.
    owner: the sequence that its reading is put down to, at first its number. users: leaves at or below it that are
    not done with. kept: its keys and values, once read, while somebody needs them.
    """

    ids: list[int]
    start: int
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    wanted: dict[int, list[Any]] = field(default_factory=dict)
    owner: Any = None
    users: int = 0
    kept: KeysValues | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.ids)

    def path(self) -> list[Node]:
        """From the root to this node."""
        found: list[Node] = []
        node: Node | None = self
        while node is not None:
            found.append(node)
            node = node.parent
        return found[::-1]

    def want(self, position: int, who: Any) -> None:
        """Ask for the logits at a position of the sequence that ends in this leaf."""
        node = self
        while position < node.start:
            assert node.parent is not None
            node = node.parent
        node.wanted.setdefault(position, []).append(who)

    def split(self, length: int) -> Node:
        """Cut off the first `length` tokens as a parent of the rest. Returns that parent; this node is the rest."""
        cut = self.start + length
        head = Node(self.ids[:length], self.start, self.parent, [self], owner=self.owner, users=self.users)
        head.wanted = {p: who for p, who in self.wanted.items() if p < cut}
        self.wanted = {p: who for p, who in self.wanted.items() if p >= cut}
        if self.parent is not None:
            self.parent.children[self.parent.children.index(self)] = head
        self.ids, self.start, self.parent = self.ids[length:], cut, head
        return head

    def release(self) -> None:
        """This leaf is done with: forget keys and values that no other leaf needs."""
        node: Node | None = self
        while node is not None:
            node.users -= 1
            if node.users == 0:
                node.kept = None
            node = node.parent


@dataclass(frozen=True, slots=True)
class Forest:
    """roots: nodes without a parent. leaves: one per sequence, in the order of the sequences."""

    roots: list[Node]
    leaves: list[Node]

    def in_order(self) -> list[Node]:
        """Every node after its parent, and the nodes below a node right after it."""
        return list(_walk(self.roots))


def grow(sequences: Sequence[Sequence[int]], longest_prefix: int | None = None) -> Forest:
    """The forest of `sequences`, none of them empty. The last token of each is in its leaf, so equal ones have two.

    longest_prefix: tokens of a shared path at most, for what memory can keep; None for no limit.
    """
    leaves: list[Node | None] = [None] * len(sequences)
    roots: list[Node] = []
    path: list[Node] = []
    before: np.ndarray | None = None
    keys = [np.asarray(ids, dtype=">u4") for ids in sequences]
    for number in sorted(range(len(sequences)), key=lambda i: keys[i].tobytes()):
        ids = keys[number]
        shared = 0 if before is None else _common(before, ids)
        last = None
        while path and path[-1].end > shared:
            last = path.pop()
        parent = path[-1] if path else None
        if (parent.end if parent else 0) < shared:
            assert last is not None
            was_root = last.parent is None
            parent = last.split(shared - last.start)
            if was_root:
                roots[-1] = parent
            path.append(parent)
        leaf = Node(list(sequences[number][shared:]), shared, parent, owner=number)
        (parent.children if parent else roots).append(leaf)
        path.append(leaf)
        leaves[number], before = leaf, ids
    grown = [leaf for leaf in leaves if leaf is not None]
    roots = _worthwhile(roots, longest_prefix)
    for leaf in grown:
        for node in leaf.path():
            node.users += 1
    return Forest(roots, grown)


def _common(left: np.ndarray, right: np.ndarray) -> int:
    """Length of the common beginning, short of the last token of both."""
    length = min(len(left), len(right)) - 1
    unequal = left[:length] != right[:length]
    return int(unequal.argmax()) if unequal.any() else length


def _walk(roots: Iterable[Node]) -> Iterator[Node]:
    waiting = list(roots)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children[::-1]


def _worthwhile(roots: list[Node], longest_prefix: int | None) -> list[Node]:
    """The roots after every shared node that does not earn its keep was given back to its children."""
    below: dict[Node, int] = {}
    top = Node([], 0, children=roots)
    for node in list(_walk(roots))[::-1]:  # children before their parents
        below[node] = len(node.ids) + sum(below[child] for child in node.children)
        if not node.children:
            continue
        saved = len(node.ids) * (len(node.children) - 1)
        too_long = longest_prefix is not None and node.end > longest_prefix
        if too_long or saved < max(_FEWEST_SAVED, _LEAST_SHARE_SAVED * below[node]):
            for child in node.children:
                below[child] += len(node.ids)
            _give_back(node, node.parent or top)
    for node in list(_walk(top.children))[::-1]:
        if node.children:
            node.owner = node.children[0].owner
    return top.children


def _give_back(node: Node, parent: Node) -> None:
    for child in node.children:
        child.ids, child.start, child.parent = node.ids + child.ids, node.start, node.parent
    at = parent.children.index(node)
    parent.children[at : at + 1] = node.children
