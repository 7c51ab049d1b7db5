"""What answering took. All figures are of responses, so shards, kills and later tries cannot falsify them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from llm_eval.records import Response


@dataclass(slots=True)
class Effort:
    """Sums over responses and percentiles; the properties are named and defined as the fields of `records.Result`.

    They are None where the backend does not say how long it read, and where nothing was read or written.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    read_tokens: int = 0
    reused_tokens: int = 0
    seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    costs: list[float | None] = field(default_factory=list)
    request_seconds: list[float] = field(default_factory=list)
    first_token_seconds: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, responses: Iterable[Response]) -> Self:
        effort = cls()
        for response in responses:
            effort.add(response)
        return effort

    def add(self, response: Response) -> None:
        self.input_tokens += response.input_tokens
        self.output_tokens += response.output_tokens
        self.read_tokens += response.prefill_tokens
        self.reused_tokens += response.reused_tokens
        self.seconds += response.latency_seconds
        self.prefill_seconds += response.prefill_seconds
        if response.output_tokens:
            self.decode_seconds += response.latency_seconds - response.prefill_seconds
        if response.error is None:
            self.costs.append(response.cost_usd)
            self.request_seconds += [s for s in [response.request_seconds] if s is not None]
            self.first_token_seconds += [s for s in [response.first_token_seconds] if s is not None]

    @property
    def prefill_tokens(self) -> int | None:
        return self.read_tokens or None

    @property
    def prefix_reuse_fraction(self) -> float | None:
        return round(self.reused_tokens / (self.read_tokens + self.reused_tokens), 4) if self.read_tokens else None

    @property
    def prefill_tokens_per_second(self) -> float | None:
        return round(self.read_tokens / self.prefill_seconds, 1) if self.prefill_seconds > 0 else None

    @property
    def decode_tokens_per_second(self) -> float | None:
        # A backend that does not set reading apart, such as a server's, answers many at once: its latencies overlap.
        if self.prefill_seconds <= 0 or self.decode_seconds <= 0:
            return None
        return round(self.output_tokens / self.decode_seconds, 1)

    @property
    def cost_usd(self) -> float | None:
        known = [cost for cost in self.costs if cost is not None]
        return round(sum(known), 8) if known and len(known) == len(self.costs) else None

    def latency_seconds(self, percent: float) -> float | None:
        return _percentile(self.request_seconds, percent)

    @property
    def first_token_p50_seconds(self) -> float | None:
        return _percentile(self.first_token_seconds, 50)

    def counts(self) -> dict[str, int | float]:
        """For a stage's report: what is not known is left out."""
        known = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "prefill_tokens": self.prefill_tokens,
            "prefix_reuse_fraction": self.prefix_reuse_fraction,
            "prefill_tokens_per_second": self.prefill_tokens_per_second,
            "decode_tokens_per_second": self.decode_tokens_per_second,
            "cost_usd": self.cost_usd,
        }
        return {name: value for name, value in known.items() if value is not None}


def _percentile(values: Sequence[float], percent: float) -> float | None:
    """Of these values, in between linearly, rounded to milliseconds; None of none.

    Source: Hyndman & Fan 1996, definition 7, as numpy's default.
    """
    if not values:
        return None
    ordered, place = sorted(values), (len(values) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 3)
