"""Log-likelihoods of rows of tokens, many rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_eval.backends.transformers.encoding import Row
from llm_eval.backends.transformers.loading import Loaded

if TYPE_CHECKING:
    from torch import Tensor

_POSITIONS_AT_ONCE = 256  # of float32 logits over the vocabulary


def log_likelihoods(loaded: Loaded, rows: list[Row]) -> list[list[float]]:
    """For each row, for each of its targets: sum of the log-probabilities of the target's tokens, in nats.

    Padding stands on the right, where a causal model cannot see it, so a row's sums do not depend on its neighbours
    (beyond rounding of the model's dtype). Only logits that are needed are computed, where the model's code can do so.
    """
    import torch

    width = max(len(row.inputs) for row in rows)
    inputs = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros_like(inputs)
    for i, row in enumerate(rows):
        inputs[i, : len(row.inputs)] = torch.tensor(row.inputs)
        mask[i, : len(row.inputs)] = 1
    kept = sorted({position for row in rows for position in _scored_positions(row)})
    logits = loaded.forward(
        inputs.to(loaded.device),
        attention_mask=mask.to(loaded.device),
        use_cache=False,
        logits_to_keep=torch.tensor(kept, device=loaded.device),
    ).logits
    if logits.shape[1] != len(kept):  # code of an older time gives them all
        logits = logits[:, kept]
    place = {position: index for index, position in enumerate(kept)}
    sums = []
    for i, row in enumerate(rows):
        first = place[_scored_positions(row).start]  # of one row the positions follow each other, here as in the text
        own = logits[i, first : first + len(_scored_positions(row))]
        sums += [_sum(own[len(own) - len(target.ids) :], target.ids) for target in row.targets]
    values = iter(torch.stack(sums).tolist())  # one wait for the device, not one a sum
    return [[next(values) for _ in row.targets] for row in rows]


def _scored_positions(row: Row) -> range:
    """Positions whose logits predict the row's targets: the last ones of its inputs."""
    longest = max(len(target.ids) for target in row.targets)
    return range(len(row.inputs) - longest, len(row.inputs))


def _sum(logits: Tensor, ids: list[int]) -> Tensor:
    """Sum of log-softmax(logits)[position, ids[position]]; softmax in float32, sum in float64."""
    import torch

    wanted = torch.tensor(ids, device=logits.device)
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    for begin in range(0, len(ids), _POSITIONS_AT_ONCE):
        part = slice(begin, begin + _POSITIONS_AT_ONCE)
        log_probabilities = logits[part].float().log_softmax(-1)
        total += log_probabilities.gather(-1, wanted[part, None]).double().sum()
    return total
