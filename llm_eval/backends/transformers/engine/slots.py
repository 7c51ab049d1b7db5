"""Slots: the answers that are being written, and the keys and values that are each one's own.

Rows of one tensor per layer. The rows in use are always the first ones: when an answer ends, the last row takes its
place, so that a step never has to gather.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from llm_eval.backends.transformers.engine.prefixes import KeysValues, Node

T = TypeVar("T")

# What stands before so few tokens is copied into each slot: cheaper than attending to it apart.
_FEWEST_SHARED = 64
_STEP = 64  # tokens by which rows grow


@dataclass(slots=True)
class Row(Generic[T]):
    """length: tokens of its own that are written. shared: what stands before them."""

    occupant: T
    length: int
    shared: list[Node]


class Slots(Generic[T]):
    """At most `rows` answers, of at most `tokens` tokens of their own together (room to grow included)."""

    def __init__(self, rows: int, tokens: int, device: torch.device, dtype: torch.dtype) -> None:
        self.rows, self.tokens = rows, tokens
        self._used: list[Row[T]] = []
        self._device, self._dtype = device, dtype
        self._expected = (0, 0)
        self._own: KeysValues = {}
        self._places = torch.empty(0, dtype=torch.long)
        self._groups: list[tuple[Node, Tensor | None]] | None = None

    def __len__(self) -> int:
        return len(self._used)

    @property
    def occupants(self) -> list[T]:
        return [row.occupant for row in self._used]

    @property
    def longest(self) -> int:
        return max((row.length for row in self._used), default=0)

    def free(self, own_tokens: int, kept_tokens: int) -> int:
        """Rows that may still be filled with answers of up to `own_tokens`, beside `kept_tokens` elsewhere."""
        longest = _stepped(max(own_tokens, self.longest) + 1)
        fit = max((self.tokens - kept_tokens) // longest, 1)
        return max(min(self.rows, fit) - len(self), 0)

    def expect(self, rows: int, tokens: int) -> None:
        """So many rows of so many tokens are likely: what is allocated next has room for them, if there is any."""
        self._expected = min(rows, self.rows), _stepped(tokens)

    @torch.inference_mode()
    def put(self, occupant: T, leaf: Node) -> None:
        """A new row, for what follows `leaf`; its path's keys and values are all kept."""
        shared, own = divided(leaf)
        row, length = len(self), sum(len(node.ids) for node in own)
        self._used.append(Row(occupant, length, shared))
        self._groups = None
        assert leaf.kept is not None
        for layer in leaf.kept:
            self._fit(layer, leaf.kept[layer], row + 1, length + 1)
            at = 0
            for node in own:
                assert node.kept is not None
                for rows, part in zip(self._own[layer], node.kept[layer], strict=True):
                    rows[row, :, at : at + len(node.ids)] = part
                at += len(node.ids)

    @torch.inference_mode()
    def remove(self, row: int) -> T:
        """Free a row; the last one takes its number. What it held is wiped: a NaN there would outlive it."""
        last = len(self) - 1
        for tensors in self._own.values():
            for rows in tensors:
                if row != last:
                    rows[row].copy_(rows[last])
                rows[last].zero_()
        self._used[row], self._used[last] = self._used[last], self._used[row]
        self._groups = None
        return self._used.pop().occupant

    @torch.inference_mode()
    def shrink(self) -> None:
        """From now on no more rows than there are, and no memory for more."""
        self.rows = len(self)
        for layer, old in self._own.items():
            self._own[layer] = (old[0][: self.rows].clone(), old[1][: self.rows].clone())

    def crowded(self, kept_tokens: int) -> bool:
        """Whether another token for every row would need more than there is room for; never for a single one."""
        return len(self) > 1 and len(self) * _stepped(self.longest + 1) > self.tokens - kept_tokens

    def mask(self) -> Tensor:
        """Additive, (row, 1, 1, token): what each row has written, and the token that is being read."""
        self._places = torch.tensor([row.length for row in self._used], device=self._device)
        positions = torch.arange(self.longest + 1, device=self._device)
        mask = torch.zeros(len(self), len(positions), dtype=self._dtype, device=self._device)
        return mask.masked_fill_(positions > self._places[:, None], -torch.inf)[:, None, None]

    def groups(self) -> list[tuple[Node, Tensor | None]]:
        """Shared nodes and the rows that come after them; None for all rows."""
        if self._groups is None:
            members: dict[Node, list[int]] = {}
            for number, row in enumerate(self._used):
                for node in row.shared:
                    members.setdefault(node, []).append(number)
            self._groups = [
                (node, None if len(rows) == len(self) else torch.tensor(rows, device=self._device))
                for node, rows in members.items()
            ]
        return self._groups

    @torch.inference_mode()
    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write one more token of each row, (key head, row, dimension); returns (row, key head, token, dimension)."""
        length = self.longest + 1
        self._fit(layer, (keys, values), len(self), length)
        numbers = torch.arange(len(self), device=self._device)
        found = []
        for rows, new in zip(self._own[layer], (keys, values), strict=True):
            rows[numbers, :, self._places] = new.transpose(0, 1)
            found.append(rows[: len(self), :, :length])
        return found[0], found[1]

    def advance(self) -> None:
        """Every row has one more token."""
        for row in self._used:
            row.length += 1

    def _fit(self, layer: int, like: tuple[Tensor, Tensor], rows: int, tokens: int) -> None:
        """Make the layer's tensors hold so many rows of so many tokens."""
        old = self._own.get(layer)
        if old is not None and old[0].shape[0] >= rows and old[0].shape[2] >= tokens:
            return
        held = (0, 0) if old is None else (old[0].shape[0], old[0].shape[2])
        needed = max(rows, held[0]), max(_stepped(tokens), held[1])
        size = max(needed[0], self._expected[0]), max(needed[1], self._expected[1])
        if size[0] * size[1] > self.tokens:
            size = needed if needed[0] * needed[1] <= self.tokens else (rows, _stepped(tokens))
        grown = []
        for number, tensor in enumerate(like):
            new = tensor.new_zeros(size[0], tensor.shape[0], size[1], tensor.shape[2])
            if old is not None:
                kept = min(held[0], size[0]), min(held[1], size[1])
                new[: kept[0], :, : kept[1]] = old[number][: kept[0], :, : kept[1]]
            grown.append(new)
        self._own[layer] = grown[0], grown[1]


def divided(leaf: Node) -> tuple[list[Node], list[Node]]:
    """The path to a leaf: nodes that its answer shares with others, and those that are copied into its slot."""
    path = leaf.path()
    shared = 0
    while shared < len(path) - 1 and len(path[shared].ids) >= _FEWEST_SHARED:
        shared += 1
    return path[:shared], path[shared:]


def _stepped(tokens: int) -> int:
    return math.ceil(tokens / _STEP) * _STEP
