"""What answering took. All figures are sums over responses, so shards, kills and later tries cannot falsify them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from llm_eval.records import Response


@dataclass(slots=True)
class Effort:
    """Sums over responses; the properties are named and defined as the fields of `records.Result`.

    They are None where the backend does not say how long it read, and where nothing was read or written.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    read_tokens: int = 0
    reused_tokens: int = 0
    seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

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

    def counts(self) -> dict[str, int | float]:
        """For a stage's report: what is not known is left out."""
        known = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "prefill_tokens": self.prefill_tokens,
            "prefix_reuse_fraction": self.prefix_reuse_fraction,
            "prefill_tokens_per_second": self.prefill_tokens_per_second,
            "decode_tokens_per_second": self.decode_tokens_per_second,
        }
        return {name: value for name, value in known.items() if value is not None}
