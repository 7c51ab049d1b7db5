"""The plain path: padded batches through the library's own attention, for models that cannot be packed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor

from llm_eval.backends.transformers.encoding import Row
from llm_eval.backends.transformers.engine.drafts import Draft, Task
from llm_eval.backends.transformers.engine.memory import Room, fits
from llm_eval.backends.transformers.engine.probe import rotary_limit
from llm_eval.backends.transformers.engine.sampling import Stops, pick
from llm_eval.backends.transformers.engine.scoring import Scored, log_probabilities
from llm_eval.backends.transformers.loading import NO_MEMORY, NOT_FINITE, Loaded
from llm_eval.records import Response
from llm_eval.specs import Generation

logger = logging.getLogger(__name__)

_PADDING_TOLERANCE = 0.25  # of the logits' standard deviation; rounding to 16 bits stays below

R = TypeVar("R")
A = TypeVar("A")


class Batch(NamedTuple):
    """Sequences side by side, as wide as the longest. Shapes: ids and mask (row, token)."""

    ids: Tensor
    mask: Tensor


def padded(sequences: Sequence[list[int]], *, left: bool, device: torch.device) -> Batch:
    """Padding stands on the left or on the right, and is masked."""
    width = max(map(len, sequences))
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, sequence in enumerate(sequences):
        part = slice(width - len(sequence), width) if left else slice(len(sequence))
        ids[i, part] = torch.tensor(sequence)
        mask[i, part] = 1
    return Batch(ids.to(device), mask.to(device))


class Growing(Protocol):
    """Texts side by side, each a token longer after each pass. `read`: tokens read for each before the first."""

    @property
    def read(self) -> list[int]: ...

    def logits(self) -> Tensor:
        """Of the token that comes next; shape (row, vocabulary)."""
        ...

    def append(self, chosen: Tensor) -> None:
        """The tokens that were chosen; shape (row,)."""
        ...


@dataclass(slots=True)
class Continued:
    """Prompts that are continued. Positions count from each prompt."""

    forward: Callable[..., Any]
    read: list[int]
    ids: Tensor
    mask: Tensor
    positions: Tensor
    caches: bool
    cache: Any = None

    def logits(self) -> Tensor:
        seen = self.ids.shape[1] if self.cache is None else 1  # a model without a cache reads everything again
        output = self.forward(
            self.ids[:, -seen:],
            attention_mask=self.mask,
            position_ids=self.positions[:, -seen:],
            past_key_values=self.cache,
            use_cache=self.caches,
            logits_to_keep=1,
        )
        self.cache = getattr(output, "past_key_values", None)
        last: Tensor = output.logits[:, -1]
        return last

    def append(self, chosen: Tensor) -> None:
        self.ids = torch.cat([self.ids, chosen[:, None].to(self.ids)], dim=1)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(chosen), 1)], dim=1)
        self.positions = torch.cat([self.positions, self.positions[:, -1:] + 1], dim=1)


@dataclass(slots=True)
class Plain:
    """One model's padded forward passes.

    tokens: of a batch, padding included; less after memory was full. rows: of a batch at most. rotary_limit: see there.
    """

    loaded: Loaded
    tokens: int
    rows: int
    rotary_limit: int | None

    @classmethod
    def of(cls, loaded: Loaded, room: Room) -> Self:
        limit = rotary_limit(loaded)
        alone = limit is not None or (not loaded.is_encoder_decoder and _sees_padding(loaded))
        if alone:
            logger.info(
                "model %s reads one sequence at a time: its answers would depend on their neighbours", loaded.name
            )
        return cls(loaded, room.limits.tokens, 1 if alone else room.slots, limit)

    def score(self, rows: Sequence[Row]) -> Iterator[Scored]:
        """Each row once, the longest first."""
        longest_first = sorted(rows, key=lambda row: len(row.inputs), reverse=True)
        for some, sums, seconds in self._batches(longest_first, lambda row: len(row.inputs), self._sums):
            share = seconds / len(some)
            for i, row in enumerate(some):
                yield Scored(row, sums[i] if sums else None, len(row.inputs), share)

    def write(self, generation: Generation, windows: Iterable[list[Task]]) -> Iterator[Response]:
        """Each task's response once, batch by batch, the longest first."""
        stops, tokens = Stops.of(self.loaded, generation), self.loaded.tokens
        for tasks in windows:
            longest_first = sorted(tasks, key=lambda task: len(task.prompt.ids), reverse=True)

            def width(task: Task) -> int:
                return len(task.prompt.ids) + generation.max_tokens

            def work(some: list[Task]) -> list[Draft]:
                return self._written(some, generation, stops)

            for some, drafts, _ in self._batches(longest_first, width, work):
                for i, task in enumerate(some):
                    draft = drafts[i] if drafts else Draft.of(task, generation)
                    if not drafts:
                        draft.fail(NO_MEMORY)
                    yield draft.response(stops, tokens)

    def _batches(
        self, rows: list[R], width_of: Callable[[R], int], work: Callable[[list[R]], list[A]]
    ) -> Iterator[tuple[list[R], list[A] | None, float]]:
        """Rows, what `work` made of them (None if a lone row did not fit the memory), and the seconds it took.

        The widest rows come first.
        """
        while rows:
            width = width_of(rows[0])
            most = max(min(self.tokens // width, self.rows), 1)
            batch, begun = rows[:most], time.perf_counter()
            answers = fits(work, batch)
            if answers is None and len(batch) > 1:
                self.tokens = len(batch) * width // 2
                logger.warning("out of memory with %d rows at once, going on with %d", len(batch), len(batch) // 2)
                continue
            rows = rows[len(batch) :]
            yield batch, answers, time.perf_counter() - begun

    def _sums(self, rows: list[Row]) -> list[list[float]]:
        """For each row, for each of its targets: sum of the log-probabilities of the target's tokens, in nats.

        A causal model cannot see what stands to the right, so a row's sums do not depend on its neighbours. Only logits
        that are needed are computed, where the model's code can do so.
        """
        batch = padded([row.inputs for row in rows], left=False, device=self.loaded.device)
        kept = sorted({position for row in rows for position in _scored_positions(row)})
        keep = torch.tensor(kept, device=self.loaded.device)
        logits = self._forward(batch.ids, attention_mask=batch.mask, use_cache=False, logits_to_keep=keep).logits
        if logits.shape[1] != len(kept):  # code of an older time gives them all
            logits = logits[:, keep]
        place = {position: index for index, position in enumerate(kept)}
        sums = []
        for i, row in enumerate(rows):
            end = len(row.inputs)
            positions = [[place[p] for p in range(end - len(t.ids), end)] for t in row.targets]
            sums.append(
                [sum(log_probabilities(logits[i], p, t.ids)) for p, t in zip(positions, row.targets, strict=True)]
            )
        return sums

    def _written(self, tasks: list[Task], generation: Generation, stops: Stops) -> list[Draft]:
        """Drafts that are finished, in order."""
        drafts = [Draft.of(task, generation) for task in tasks]
        begun = time.perf_counter()
        texts = self._opened([task.prompt.ids for task in tasks], generation.max_tokens)
        for step in range(generation.max_tokens):
            logits = texts.logits().float()
            sane = torch.isfinite(logits.amax(-1)).tolist()
            chosen = pick(logits, generation, [draft.draw() for draft in drafts])
            for draft, token, is_sane in zip(drafts, chosen.tolist(), sane, strict=True):
                if draft.finish is None and is_sane:
                    draft.add(token, stops, self.loaded.tokens, generation.max_tokens)
                elif draft.finish is None:
                    draft.fail(NOT_FINITE)
            seconds = time.perf_counter() - begun
            for draft, read in zip(drafts, texts.read, strict=True):
                if step == 0:
                    draft.prefill_tokens, draft.prefill_seconds = read, seconds / len(drafts)
                draft.decode_seconds = seconds / len(drafts) - draft.prefill_seconds
            if all(draft.finish for draft in drafts):
                break
            texts.append(chosen)
        return drafts

    def _opened(self, prompts: list[list[int]], max_tokens: int) -> Growing:
        """Prompts to be continued by at most `max_tokens`."""
        ids, mask = padded(prompts, left=True, device=self.loaded.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        caches = self.rotary_limit is None or ids.shape[1] + max_tokens <= self.rotary_limit
        return Continued(self._forward, list(map(len, prompts)), ids, mask, positions, caches)

    def _forward(self, ids: Tensor, **arguments: Any) -> Any:
        if self.rotary_limit is not None:
            for module in self.loaded.model.modules():
                if getattr(module, "rope_type", None) == "dynamic":  # let it forget what was read before
                    module.inv_freq = module.original_inv_freq.to(module.inv_freq.device)
                    module.max_seq_len_cached = module.original_max_seq_len
        return self.loaded.forward(ids, **arguments)


def _scored_positions(row: Row) -> range:
    """Positions whose logits predict the row's targets: the last ones of its inputs."""
    longest = max(len(target.ids) for target in row.targets)
    return range(len(row.inputs) - longest, len(row.inputs))


def _sees_padding(loaded: Loaded) -> bool:
    """Whether padding on the left changes what the model says, mask or not, as for some that keep a running state."""
    ids = [7919 * number % loaded.vocabulary for number in range(1, 9)]
    batch = padded([ids, ids[:5]], left=True, device=loaded.device)
    positions = (batch.mask.cumsum(-1) - 1).clamp(min=0)
    together = loaded.forward(batch.ids, attention_mask=batch.mask, position_ids=positions, use_cache=False).logits
    alone = loaded.forward(batch.ids[1:, 3:], use_cache=False).logits
    found, expected = together[1, -1].float(), alone[0, -1].float()
    return bool((found - expected).abs().max() > _PADDING_TOLERANCE * expected.std())
