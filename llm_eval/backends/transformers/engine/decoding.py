"""Writing answers token by token in slots: who is done leaves at once, and the next one takes the place."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from llm_eval.backends.transformers.engine.attention import Writing
from llm_eval.backends.transformers.engine.drafts import Draft, Task
from llm_eval.backends.transformers.engine.prefixes import Node, grow
from llm_eval.backends.transformers.engine.reading import Read, Reader
from llm_eval.backends.transformers.engine.sampling import Stops, pick
from llm_eval.backends.transformers.engine.slots import Slots, divided
from llm_eval.backends.transformers.loading import NO_MEMORY, NOT_FINITE
from llm_eval.records import Response
from llm_eval.specs import Generation

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_REFILL_SHARE = 8  # new prompts are read once so much of the slots is free: packs of one prompt are slow
_LIKELY_TOKENS = 128  # that an answer is made room for at first


class Waiting(NamedTuple):
    """A draft, and the leaf after which it goes on."""

    draft: Draft
    leaf: Node


class Writer:
    """Writes the answers to the tasks of several windows; slots stay full from one window to the next."""

    def __init__(self, reader: Reader, generation: Generation, windows: Iterable[list[Task]], slots: int) -> None:
        self._reader, self._generation = reader, generation
        self._windows = iter(windows)
        self._tokens = reader.loaded.tokens
        self._stops = Stops.of(reader.loaded, generation)
        self._slots: Slots[Waiting] = Slots(slots, reader.cache_tokens, reader.loaded.device, reader.loaded.dtype)
        self._queue: deque[Node] = deque()
        self._longest = 0  # tokens of its own that a waiting draft begins with, at most
        self._kept: set[Node] = set()

    def write(self) -> Iterator[Response]:
        """Each task's response once, in the order in which they end. Raises as Reader.read does."""
        while True:
            yield from self._admit()
            if not len(self._slots):
                return
            yield from self._step()

    def _admit(self) -> Iterator[Response]:
        """Read prompts into free slots, until they are full or nothing waits."""
        while self._fill_queue():
            likely = self._longest + min(self._generation.max_tokens, _LIKELY_TOKENS)
            free = self._slots.free(likely, self._kept_tokens())
            if len(self._slots) and free * _REFILL_SHARE < self._slots.rows:
                return
            self._slots.expect(len(self._slots) + min(free, sum(not node.children for node in self._queue)), likely)
            yield from self._begin(self._reader.read(self._queue, leaves=max(free, 1), keeps_all=True))

    def _fill_queue(self) -> bool:
        while not self._queue and (tasks := next(self._windows, None)) is not None:
            drafts = [Draft.of(task, self._generation) for task in tasks]
            forest = grow([draft.all_ids for draft in drafts], self._reader.longest_prefix)
            for draft, leaf in zip(drafts, forest.leaves, strict=True):
                leaf.want(leaf.end - 1, Waiting(draft, leaf))
            nodes = forest.in_order()
            for node in nodes:
                node.owner = drafts[node.owner]
            self._longest = max(sum(len(n.ids) for n in divided(leaf)[1]) for leaf in forest.leaves)
            self._queue.extend(nodes)
        return bool(self._queue)

    def _kept_tokens(self) -> int:
        self._kept = {node for node in self._kept if node.kept is not None}
        return sum(len(node.ids) for node in self._kept)

    def _begin(self, read: Read) -> Iterator[Response]:
        """The first token of every draft whose prompt is read now."""
        for node in read.nodes:
            node.owner.prefill_tokens += len(node.ids)
            node.owner.prefill_seconds += read.seconds * len(node.ids) / read.tokens
        self._kept.update(node for node in read.nodes if node.children)
        waiting = [one for them in read.wanted for one in them]
        if read.logits is None:
            for draft, _ in waiting:
                draft.fail(NO_MEMORY)
        else:
            self._add_tokens([draft for draft, _ in waiting], read.logits)
        for draft, leaf in waiting:
            if draft.error == NOT_FINITE and len(read.nodes) > 1:
                yield from self._begin_alone(draft, leaf)
            elif draft.finish is None:
                self._slots.put(Waiting(draft, leaf), leaf)
                leaf.kept = None
            else:
                leaf.release()
                yield draft.response(self._stops, self._tokens)

    def _begin_alone(self, draft: Draft, leaf: Node) -> Iterator[Response]:
        """A NaN in one sequence of a pack reaches others through the zeros that hide it: 0 * NaN is NaN."""
        leaf.release()
        draft.finish = draft.error = None
        queue = deque([self._leaf_of(draft, draft.all_ids, 0, None)])
        while queue:
            yield from self._begin(self._reader.read(queue, leaves=1, keeps_all=True))

    def _leaf_of(self, draft: Draft, ids: list[int], start: int, parent: Node | None) -> Node:
        leaf = Node(ids, start, parent, owner=draft, users=1)
        leaf.want(leaf.end - 1, Waiting(draft, leaf))
        return leaf

    def _step(self) -> Iterator[Response]:
        """One more token for every draft in a slot."""
        while self._slots.crowded(self._kept_tokens()):
            self._evict(1)
        drafts = [draft for draft, _ in self._slots.occupants]
        begun = time.perf_counter()
        logits = self._reader.step(
            [draft.ids[-1] for draft in drafts],
            [len(draft.task.prompt.ids) + len(draft.ids) - 1 for draft in drafts],
            Writing(self._slots),
        )
        if logits is None and len(drafts) > 1:
            self._evict(len(drafts) // 2)
            self._slots.shrink()
            logger.warning("out of memory with %d answers at once, going on with %d", len(drafts), self._slots.rows)
            return
        if logits is None:
            drafts[0].fail(NO_MEMORY)
        else:
            self._slots.advance()
            self._add_tokens(drafts, logits)
        share = (time.perf_counter() - begun) / len(drafts)
        for row in reversed(range(len(drafts))):
            drafts[row].decode_seconds += share
            if drafts[row].finish is not None:
                self._slots.remove(row).leaf.release()
                yield drafts[row].response(self._stops, self._tokens)

    def _add_tokens(self, drafts: list[Draft], logits: Tensor) -> None:
        logits = logits.float()
        sane = logits.amax(-1).isfinite().tolist()
        chosen = pick(logits, self._generation, [draft.draw() for draft in drafts]).tolist()
        for draft, token, is_sane in zip(drafts, chosen, sane, strict=True):
            if is_sane:
                draft.add(token, self._stops, self._tokens, self._generation.max_tokens)
            else:
                draft.fail(NOT_FINITE)

    def _evict(self, rows: int) -> None:
        """Put the drafts of the last rows back to the front of the queue, with what they have written so far."""
        for _ in range(rows):
            draft, leaf = self._slots.remove(len(self._slots) - 1)
            again = self._leaf_of(draft, draft.all_ids[leaf.start :], leaf.start, leaf.parent)
            self._queue.appendleft(again)
            self._longest = max(self._longest, sum(len(n.ids) for n in divided(again)[1]))
