"""What a server's answer says. The SDK hands on whatever came as JSON, so nothing in it is taken for granted."""

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
        choice = answer.choices[0]
        if is_chat:
            text = choice.message.content
            text = getattr(choice.message, "refusal", None) if text is None else text
        else:
            text = choice.text
        finish = choice.finish_reason
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise BrokenAnswer(f"{type(error).__name__}: {error}") from error
    if not isinstance(text, str | None):
        raise BrokenAnswer(f"its text is a {type(text).__name__}")
    usage = getattr(answer, "usage", None)
    return Said(text or "", finish == "length", *(_count(usage, f"{n}_tokens") for n in ("prompt", "completion")))


def _count(usage: Any, name: str) -> int:
    number = getattr(usage, name, None)
    return number if isinstance(number, int) and number >= 0 else 0
