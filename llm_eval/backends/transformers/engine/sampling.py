"""Choosing the next token, and knowing when an answer has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_eval.backends.transformers.tokens import Tokens
from llm_eval.specs import Generation

if TYPE_CHECKING:
    from torch import Tensor

    from llm_eval.backends.transformers.loading import Loaded

_SLACK = 8  # tokens beside the longest stop text that are looked at again after each step


@dataclass(frozen=True, slots=True)
class Stops:
    """What ends an answer: tokens, and texts that may span several tokens."""

    ids: frozenset[int]
    texts: tuple[str, ...]
    _ending: dict[int, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, loaded: Loaded, generation: Generation) -> Stops:
        control = {token for text in generation.stop if (token := loaded.tokens.single(text)) is not None}
        return cls(loaded.end_ids | control, generation.stop)

    def cut(self, text: str) -> str:
        """`text` before the first of the stop texts."""
        return text[: min((at for stop in self.texts if (at := text.find(stop)) >= 0), default=len(text))]

    def near_end(self, tokens: Tokens, before: Sequence[int], ids: Sequence[int]) -> bool:
        """Whether the last tokens spell a stop text. A token is at least a byte, so that many tokens are enough."""
        if not self.texts or not self._may_end(tokens, ids[-1]):
            return False
        tail = max(len(stop.encode()) for stop in self.texts) + _SLACK
        text = tokens.decode([*before[-tail:], *ids[:-tail]], ids[-tail:])
        return any(stop in text for stop in self.texts)

    def _may_end(self, tokens: Tokens, token: int) -> bool:
        """Whether a stop text can end in this token: only where the token's own text holds its last character.

        Blanks and characters of several bytes may be missing from the text of a token by itself.
        """
        known = self._ending.get(token)
        if known is None:
            last = {stop[-1] for stop in self.texts}
            text = tokens.decode([], [token])
            known = any(not c.isascii() or c.isspace() or c in text for c in last) or not text
            self._ending[token] = known
        return known


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
