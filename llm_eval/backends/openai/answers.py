"""What a server's answer says: whatever came as JSON, so nothing in it is taken for granted."""

from __future__ import annotations

from typing import Any, NamedTuple


class BrokenAnswer(Exception):
    """The server's answer lacks what it must have."""


class Said(NamedTuple):
    """`is_cut`: it ends because `max_tokens` were reached. Tokens are 0 where the server does not say."""

    text: str
    is_cut: bool
    input_tokens: int
    output_tokens: int


def read(answer: Any, is_chat: bool) -> Said:
    """Of a chat completion, or of a plain one. A refusal in a field of its own is what the model said. Raises
    BrokenAnswer."""
    try:
        choice = answer["choices"][0]
        text = choice["text"] if not is_chat else choice["message"].get("content")
        if is_chat and text is None:
            text = choice["message"].get("refusal")
        finish = choice.get("finish_reason")
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise BrokenAnswer(f"{type(error).__name__}: {error}") from error
    if not isinstance(text, str | None):
        raise BrokenAnswer(f"its text is a {type(text).__name__}")
    usage = answer.get("usage")
    return Said(text or "", finish == "length", *(_count(usage, f"{n}_tokens") for n in ("prompt", "completion")))


def _count(usage: Any, name: str) -> int:
    number = usage.get(name) if isinstance(usage, dict) else None
    return number if isinstance(number, int) and number >= 0 else 0
