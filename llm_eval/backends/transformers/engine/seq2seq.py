"""Encoder-decoders, such as T5 and BART, on the plain path: one half reads the prompt, the other one writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from llm_eval.backends.transformers.encoding import Row
from llm_eval.backends.transformers.engine.memory import Room
from llm_eval.backends.transformers.engine.plain import Growing, Plain, padded
from llm_eval.backends.transformers.engine.scoring import Scored, log_probabilities
from llm_eval.backends.transformers.loading import Loaded


class Encoded(NamedTuple):
    """What the encoder made of a text for each row. Shapes: states (row, token, hidden); mask (row, token)."""

    states: Tensor
    mask: Tensor


@dataclass(slots=True)
class Answers:
    """What the decoder writes, beginning with its start token. ids: (row, token)."""

    decode: Callable[..., Any]
    read: list[int]
    encoded: Encoded
    ids: Tensor
    cache: Any = None

    def logits(self) -> Tensor:
        seen = self.ids.shape[1] if self.cache is None else 1  # a model without a cache reads everything again
        output = self.decode(self.encoded, self.ids[:, -seen:], past_key_values=self.cache, use_cache=True)
        self.cache = getattr(output, "past_key_values", None)
        last: Tensor = output.logits[:, -1]
        return last

    def append(self, chosen: Tensor) -> None:
        self.ids = torch.cat([self.ids, chosen[:, None].to(self.ids)], dim=1)


@dataclass(slots=True)
class EncoderDecoder(Plain):
    """Padded batches; the encoder reads a text once for all rows of a batch, choices of it or attempts at it."""

    @classmethod
    def of(cls, loaded: Loaded, room: Room) -> Self:
        return cls(loaded, room.limits.tokens, room.slots, rotary_limit=None)

    def score(self, rows: Sequence[Row]) -> Iterator[Scored]:
        """Each row once, questions together, the one with the longest row first."""
        longest: dict[int, int] = {}
        for row in rows:
            longest[row.question] = max(len(row.inputs), longest.get(row.question, 0))
        together = sorted(rows, key=lambda row: (longest[row.question], row.question), reverse=True)
        for some, sums, seconds in self._batches(together, lambda row: longest[row.question], self._sums):
            share = seconds / len(some)
            read = _read_once([_prompt(row) for row in some])
            for i, row in enumerate(some):
                yield Scored(row, sums[i] if sums else None, read[i] + _decoded_tokens(row), share)

    def _sums(self, rows: list[Row]) -> list[list[float]]:
        batch = padded([row.inputs[-_decoded_tokens(row) :] for row in rows], left=False, device=self.loaded.device)
        logits = self._decode(self._encoded([_prompt(row) for row in rows]), batch.ids, use_cache=False).logits
        return [
            [sum(log_probabilities(logits[i], list(range(len(t.ids))), t.ids)) for t in row.targets]
            for i, row in enumerate(rows)
        ]

    def _opened(self, prompts: list[list[int]], max_tokens: int) -> Growing:
        texts = [ids[:-1] for ids in prompts]
        start = torch.tensor([ids[-1:] for ids in prompts], device=self.loaded.device)
        return Answers(self._decode, [tokens + 1 for tokens in _read_once(texts)], self._encoded(texts), start)

    def _encoded(self, texts: list[list[int]]) -> Encoded:
        numbers = {text: i for i, text in enumerate(dict.fromkeys(map(tuple, texts)))}
        batch = padded([list(text) for text in numbers], left=False, device=self.loaded.device)
        encoder = replace(self.loaded, model=self.loaded.model.get_encoder())
        states = encoder.forward(batch.ids, attention_mask=batch.mask).last_hidden_state
        which = torch.tensor([numbers[tuple(text)] for text in texts], device=self.loaded.device)
        return Encoded(states[which.to(states.device)], batch.mask[which])

    def _decode(self, encoded: Encoded, ids: Tensor, **arguments: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return self.loaded.forward(
            None,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded.states),
            attention_mask=encoded.mask,
            decoder_input_ids=ids,
            **arguments,
        )


def _decoded_tokens(row: Row) -> int:
    """That the decoder reads: its start token, and all of a target but the last; targets of a row are of one length."""
    return len(row.targets[0].ids)


def _prompt(row: Row) -> list[int]:
    return row.inputs[: -_decoded_tokens(row)]


def _read_once(texts: list[list[int]]) -> list[int]:
    """Tokens of each text that the encoder reads; none where the same text stands before it."""
    seen: set[tuple[int, ...]] = set()
    tokens = []
    for text in map(tuple, texts):
        tokens.append(0 if text in seen else len(text))
        seen.add(text)
    return tokens
