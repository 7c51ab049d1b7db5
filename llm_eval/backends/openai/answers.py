"""What a server's answer says: whatever came as JSON, so nothing in it is taken for granted."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from llm_eval.records import TokenLogprob
from llm_eval.specs import Price


class BrokenAnswer(Exception):
    """The server's answer lacks what it must have."""


class IgnoredOption(Exception):
    """A whole answer, but without what an option of the request asks for; `str` names it and what is lacking."""


class Said(NamedTuple):
    """One choice. `is_cut`: it ends because `max_tokens` were reached."""

    text: str
    is_cut: bool
    first_tokens: tuple[TokenLogprob, ...] = ()


class Usage(NamedTuple):
    """Tokens of one answer, of all its choices together; `cached` of the input were known to the server. 0 where it
    does not say; `is_told`: it does."""

    input: int
    output: int
    cached: int
    is_told: bool

    def cost_usd(self, price: Price | None) -> float | None:
        """None without a price, and where the server does not say how many tokens it took."""
        if price is None or not self.is_told:
            return None
        known = price.cached_input_per_million
        cached = min(self.cached, self.input) if known is not None else 0
        cost = (self.input - cached) * price.input_per_million + self.output * price.output_per_million
        return float(cost + cached * (known or 0.0)) / 1e6


def read(answer: Any, is_chat: bool, choices: int = 1, top_logprobs: int | None = None) -> list[Said]:
    """So many choices of a chat completion, or of a plain one, in order.

    A refusal in a field of its own is what the model said. Raises BrokenAnswer, or IgnoredOption where there are fewer
    choices than asked for, or no log-probabilities.
    """
    try:
        found = [_said(choice, is_chat, top_logprobs) for choice in answer["choices"]]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BrokenAnswer(f"{type(error).__name__}: {error}") from error
    if not found:
        raise BrokenAnswer("it has no choices")
    if len(found) < choices:
        raise IgnoredOption(f"n: {len(found)} of {choices} answers came (leave attempts_in_one_request out)")
    return found[:choices]


def usage_of(answer: Any) -> Usage:
    usage = answer.get("usage") if isinstance(answer, dict) else None
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    cached = _count(details, "cached_tokens")
    return Usage(prompt or 0, completion or 0, cached or 0, prompt is not None)


def _said(choice: Any, is_chat: bool, top_logprobs: int | None) -> Said:
    text = choice["text"] if not is_chat else choice["message"].get("content")
    if is_chat and text is None:
        text = choice["message"].get("refusal")
    if not isinstance(text, str | None):
        raise TypeError(f"its text is a {type(text).__name__}")
    first = _first_tokens(choice.get("logprobs"), is_chat)[:top_logprobs] if top_logprobs else ()
    if top_logprobs and text and not first:  # an empty answer has no first token
        raise IgnoredOption("logprobs: the answer comes without the log-probabilities of its first token")
    return Said(text or "", choice.get("finish_reason") == "length", first)


def _first_tokens(logprobs: Any, is_chat: bool) -> tuple[TokenLogprob, ...]:
    """Likeliest first; () where the server does not say. Some add the token that was drawn to as many as were asked."""
    if logprobs is None:
        return ()
    if is_chat:
        tokens = logprobs.get("content") or logprobs.get("refusal") or []
        pairs = [(t["token"], t["logprob"]) for t in (tokens[0].get("top_logprobs") or [])] if tokens else []
    else:
        tokens = logprobs.get("top_logprobs") or []
        pairs = list((tokens[0] or {}).items()) if tokens else []
    found = [TokenLogprob(_text(token), _logprob(value)) for token, value in pairs]
    return tuple(sorted(found, key=lambda t: -t.logprob))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a token is a {type(value).__name__}")
    return value


def _logprob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError(f"{value!r} is no log-probability")
    return float(value)


def _count(counts: Any, name: str) -> int | None:
    number = counts.get(name) if isinstance(counts, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
