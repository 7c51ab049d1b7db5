"""Writing answers token by token, many prompts at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from llm_eval.backends.transformers.encoding import Prompt
from llm_eval.backends.transformers.loading import NOT_FINITE, Loaded
from llm_eval.backends.transformers.tokens import Tokens
from llm_eval.records import FinishReason, Response
from llm_eval.specs import Generation

if TYPE_CHECKING:
    from torch import Tensor

_SLACK = 8  # tokens beside the longest stop text that are looked at again after each step


class Task(NamedTuple):
    """One answer to write."""

    prompt: Prompt
    attempt: int


@dataclass(frozen=True, slots=True)
class Stops:
    """What ends an answer: tokens, and texts that may span several tokens."""

    ids: frozenset[int]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, loaded: Loaded, generation: Generation) -> Stops:
        control = {token for text in generation.stop if (token := loaded.tokens.single(text)) is not None}
        return cls(loaded.end_ids | control, generation.stop)

    def cut(self, text: str) -> str:
        """`text` before the first of the stop texts."""
        return text[: min((at for stop in self.texts if (at := text.find(stop)) >= 0), default=len(text))]

    def near_end(self, tokens: Tokens, before: Sequence[int], ids: Sequence[int]) -> bool:
        """Whether the last tokens spell a stop text. A token is at least a byte, so that many tokens are enough."""
        if not self.texts:
            return False
        tail = max(len(stop.encode()) for stop in self.texts) + _SLACK
        text = tokens.decode([*before[-tail:], *ids[:-tail]], ids[-tail:])
        return any(stop in text for stop in self.texts)


@dataclass(slots=True)
class Draft:
    """An answer while it is written. `draws` depend on request and attempt only, never on the neighbours."""

    task: Task
    draws: random.Random
    ids: list[int] = field(default_factory=list)
    finish: FinishReason | None = None


def write(loaded: Loaded, generation: Generation, tasks: list[Task]) -> list[Response]:
    """One response per task, in order. Padding stands on the left and is masked; positions count from each prompt."""
    import torch

    stops = Stops.of(loaded, generation)
    drafts = [Draft(t, random.Random(f"{generation.seed} {t.prompt.request.id} {t.attempt}")) for t in tasks]
    ids, mask = _left_padded([t.prompt.ids for t in tasks])
    ids, mask = ids.to(loaded.device), mask.to(loaded.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = None
    for _ in range(generation.max_tokens):
        seen = ids.shape[1] if cache is None else 1  # a model without a cache reads everything again
        output = loaded.forward(
            ids[:, -seen:],
            attention_mask=mask,
            position_ids=positions[:, -seen:],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = getattr(output, "past_key_values", None)
        logits = output.logits[:, -1].float()
        sane = torch.isfinite(logits.amax(-1)).tolist()
        chosen = pick(logits, generation, [draft.draws.random() for draft in drafts])
        for draft, token, is_sane in zip(drafts, chosen.tolist(), sane, strict=True):
            _continue(draft, token, is_sane, stops, loaded.tokens)
        if all(draft.finish for draft in drafts):
            break
        ids = torch.cat([ids, chosen[:, None].to(ids)], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(drafts), 1)], dim=1)
        positions = torch.cat([positions, positions[:, -1:] + 1], dim=1)
    return [_response(draft, stops, loaded.tokens) for draft in drafts]


def _left_padded(prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    import torch

    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    return ids, mask


def pick(logits: Tensor, generation: Generation, draws: list[float]) -> Tensor:
    """The next token of each row: the likeliest, or where `draws` (in [0, 1)) fall on the cumulated probabilities.

    Shapes: logits (row, vocabulary) float32; returns (row,). Temperature first, then top_k, then top_p: the fewest
    likeliest tokens whose probabilities reach top_p.
    """
    import torch

    if generation.temperature == 0:
        return logits.argmax(-1)
    ordered, tokens = (logits - logits.amax(-1, keepdim=True)).sort(stable=True, dim=-1, descending=True)
    if generation.top_k is not None:
        ordered = ordered[:, : generation.top_k]
    probabilities = (ordered / generation.temperature).double().softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.where(before < generation.top_p, torch.zeros_like(probabilities))
    reached = probabilities.cumsum(-1)
    drawn = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None] * reached[:, -1:]
    index = torch.searchsorted(reached, drawn, right=True).clamp(max=reached.shape[-1] - 1)
    return tokens.gather(-1, index)[:, 0]


def _continue(draft: Draft, token: int, is_sane: bool, stops: Stops, tokens: Tokens) -> None:
    if draft.finish is not None:
        return
    if not is_sane:
        draft.finish = "error"
        return
    draft.ids.append(token)
    if token in stops.ids or stops.near_end(tokens, draft.task.prompt.ids, draft.ids):
        draft.finish = "stop"


def _response(draft: Draft, stops: Stops, tokens: Tokens) -> Response:
    prompt, attempt = draft.task
    if draft.finish == "error":
        return Response(prompt.request.id, attempt, finish_reason="error", error=NOT_FINITE)
    written = draft.ids[:-1] if draft.ids[-1] in stops.ids else draft.ids
    return Response(
        prompt.request.id,
        attempt,
        text=stops.cut(tokens.decode(prompt.ids, written)),
        shots=prompt.shots,
        input_tokens=len(prompt.ids),
        output_tokens=len(draft.ids),
        finish_reason=draft.finish or "length",
    )
