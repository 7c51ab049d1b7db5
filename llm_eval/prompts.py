"""From a request to what the model really reads: one place for backends, previews and tests."""

from __future__ import annotations

from llm_eval.records import Message, Request, Shot


def text_prompt(request: Request, shots: int) -> str:
    """The prompt of a text model with the first `shots` examples of the request."""
    examples = "".join(shot.user + shot.assistant for shot in request.shots[:shots])
    return request.header + examples + (request.text or "")


def chat_prompt(request: Request, shots: int) -> tuple[Message, ...]:
    """The conversation of a chat model with the first `shots` examples; a system turn stays first.

    The header opens the first user turn.
    """
    messages = request.messages or ()
    system = tuple(m for m in messages[:1] if m.role == "system")
    turns = [turn for shot in request.shots[:shots] for turn in _turns(shot)] + list(messages[len(system) :])
    if request.header:
        first = turns[0]
        turns[0] = Message(first.role, request.header + first.content)
    return (*system, *turns)


def _turns(shot: Shot) -> tuple[Message, Message]:
    return Message("user", shot.user), Message("assistant", shot.assistant)


def turn_id(sample_id: str, turn: int) -> str:
    """The id of the request of one turn of a sample's conversation, from 1."""
    return sample_id if turn == 1 else f"{sample_id}#{turn}"


def is_chat(request: Request) -> bool:
    return request.messages is not None
