"""How an answer is written: decoding, and what comes back beside the text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from llm_eval.specs.base import PositiveInt, Spec


class Generation(Spec):
    """Decoding. The defaults are greedy."""

    max_tokens: PositiveInt = 256
    temperature: Annotated[float, Field(ge=0)] = 0.0
    temperatures: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Subset → its own temperature."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: PositiveInt | None = None
    stop: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """The text is cut before the first of these."""
    seed: int = 0
    attempts: PositiveInt = 1
    """Answers per prompt; a sample's value is the mean over them."""
    json_schema: dict[str, Any] | None = None
    """The answer has to be JSON of this schema; only for backends that can hold a model to one."""
    top_logprobs: Annotated[int, Field(ge=1, le=20)] | None = None
    """Also ask how likely the likeliest first tokens of the answer were; only for backends that say."""
