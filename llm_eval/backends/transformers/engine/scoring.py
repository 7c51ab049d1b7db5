"""Log-likelihoods of rows of tokens, read pack by pack."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from llm_eval.backends.transformers.encoding import Row
from llm_eval.backends.transformers.engine.prefixes import grow
from llm_eval.backends.transformers.engine.reading import Read, Reader

_ROWS_AT_ONCE = 256  # of float32 logits over the vocabulary


class Wanted(NamedTuple):
    """The log-probability of `token` counts towards target number `target` of row number `row`."""

    row: int
    target: int
    token: int


@dataclass(slots=True)
class Tally:
    """What is known of a row so far. `left`: log-probabilities that are still to come."""

    sums: list[float]
    left: int
    prefill_tokens: int = 0
    seconds: float = 0.0
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """sums: one per target of the row, in nats; None if there was no memory for it. seconds: its share of wall time."""

    row: Row
    sums: list[float] | None
    prefill_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores rows with one model."""

    reader: Reader

    def score(self, rows: Sequence[Row]) -> Iterator[Scored]:
        """Each row once, as soon as all of its targets are known."""
        forest = grow([row.inputs for row in rows], self.reader.longest_prefix)
        tallies = [Tally([0.0] * len(row.targets), sum(len(t.ids) for t in row.targets)) for row in rows]
        for number, (row, leaf) in enumerate(zip(rows, forest.leaves, strict=True)):
            for which, target in enumerate(row.targets):
                first = len(row.inputs) - len(target.ids)
                for offset, token in enumerate(target.ids):
                    leaf.want(first + offset, Wanted(number, which, token))
        queue = deque(forest.in_order())
        ends = {leaf: number for number, leaf in enumerate(forest.leaves)}
        while queue:
            read = self.reader.read(queue)
            for node in read.nodes:
                share = len(node.ids) / read.tokens
                tallies[node.owner].prefill_tokens += len(node.ids)
                tallies[node.owner].seconds += share * read.seconds
            for number in _add(read, tallies):
                yield self._finished(rows[number], tallies[number], shared=len(rows) > 1)
            for node in read.nodes:
                if node in ends:
                    node.release()

    def _finished(self, row: Row, tally: Tally, *, shared: bool) -> Scored:
        sums = None if tally.lost else tally.sums
        if sums is not None and shared and not all(map(_is_finite, sums)):
            # A NaN in one sequence of a pack reaches others through the zeros that hide it: 0 * NaN is NaN.
            (alone,) = self.score([row])
            return Scored(row, alone.sums, tally.prefill_tokens, tally.seconds + alone.seconds)
        return Scored(row, sums, tally.prefill_tokens, tally.seconds)


def _is_finite(value: float) -> bool:
    return value - value == 0.0


def _add(read: Read, tallies: list[Tally]) -> list[int]:
    """Add what a pack tells to the tallies. Returns the rows of which all is known now, in order."""
    asked: list[tuple[int, Wanted]] = [(i, one) for i, them in enumerate(read.wanted) for one in them]
    if read.logits is None:
        values = [0.0] * len(asked)
    else:
        values = log_probabilities(read.logits, [i for i, _ in asked], [one.token for _, one in asked])
    done = []
    for (_, one), value in zip(asked, values, strict=True):
        tally = tallies[one.row]
        tally.lost |= read.logits is None
        tally.sums[one.target] += value
        tally.left -= 1
        if tally.left == 0:
            done.append(one.row)
    return done


def log_probabilities(logits: Tensor, rows: list[int], tokens: list[int]) -> list[float]:
    """log softmax(logits)[row, token] for each pair, in nats; the sum over the vocabulary in float32.

    Shapes: logits (row, vocabulary); `rows` and `tokens` of one length.
    """
    if not rows:
        return []
    sums = torch.cat([part.float().logsumexp(-1) for part in torch.split(logits, _ROWS_AT_ONCE)])
    which = torch.tensor(rows, device=logits.device)
    found = logits[which, torch.tensor(tokens, device=logits.device)].double() - sums[which].double()
    values: list[float] = found.tolist()
    return values
