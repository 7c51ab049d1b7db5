"""One HTTP request and its answer as JSON, whole or as it is written."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from llm_eval.backends.openai.answers import BrokenAnswer
from llm_eval.backends.openai.bodies import Call


class Answer(NamedTuple):
    """`seconds`: None where it came with many others. `first_token_seconds`: None where the answer was not streamed, or
    is empty."""

    body: Any
    seconds: float | None
    first_token_seconds: float | None = None


async def send(client: Any, call: Call, seconds: float, stream: bool = False) -> Answer:
    """Raises whatever the SDK does, TimeoutError, and BrokenAnswer for a stream that ends before its answer.

    `seconds`: for the whole answer; the SDK's own time-out is for each of its bytes. Without the SDK's types for bodies
    and answers, which take a third of its CPU time.
    """
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        if stream:
            return await _streamed(client, call, began)
        body = await client.post(call.path, cast_to=object, body=call.body)
    return Answer(body, time.monotonic() - began)


async def _streamed(client: Any, call: Call, began: float) -> Answer:
    from openai import AsyncStream

    asked = {**call.body, "stream": True, "stream_options": {"include_usage": True}}
    kind = AsyncStream[object]
    written, first = Written(), None
    async with await client.post(call.path, cast_to=object, body=asked, stream=True, stream_cls=kind) as chunks:
        async for chunk in chunks:
            if written.add(chunk) and first is None:
                first = time.monotonic() - began
    return Answer(written.whole(), time.monotonic() - began, first)


class Written:
    """The pieces of a streamed answer, put together to what it would have been in one."""

    def __init__(self) -> None:
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: Any = None

    def add(self, chunk: Any) -> bool:
        """Whether the piece holds something that the model has written. Raises BrokenAnswer."""
        try:
            self._usage = chunk.get("usage") or self._usage
            return any([self._piece(choice) for choice in chunk.get("choices") or []])  # noqa: C419 - all are taken
        except (AttributeError, KeyError, TypeError) as error:
            raise BrokenAnswer(f"a piece of it: {type(error).__name__}: {error}") from error

    def whole(self) -> dict[str, Any]:
        """Raises BrokenAnswer where some answer has no end: the server hung up, or does not stream."""
        if not self._choices or any(c["finish_reason"] is None for c in self._choices.values()):
            raise BrokenAnswer("the stream ended before the answer did")
        return {"choices": [self._choices[index] for index in sorted(self._choices)], "usage": self._usage}

    def _piece(self, choice: Any) -> bool:
        kept = self._choices.setdefault(
            choice.get("index") or 0, {"message": {}, "text": "", "finish_reason": None, "logprobs": {}}
        )
        kept["finish_reason"] = choice.get("finish_reason") or kept["finish_reason"]
        for name, values in (choice.get("logprobs") or {}).items():
            if isinstance(values, list):
                kept["logprobs"].setdefault(name, []).extend(values)
        delta, message = choice.get("delta") or {}, kept["message"]
        new = {name: delta[name] for name in ("content", "refusal", "reasoning_content") if delta.get(name)}
        for name, text in new.items():
            message[name] = message.get(name, "") + text
        kept["text"] += (text := choice.get("text") or "")
        return bool(new or text)
