"""What is sent: the request and the dataset's decoding in OpenAI's words."""

from __future__ import annotations

from typing import Any, NamedTuple

from llm_eval.prompts import chat_prompt, is_chat, text_prompt
from llm_eval.records import Request
from llm_eval.specs import Generation, OpenAIBackend

CHAT, TEXT = "/chat/completions", "/completions"
BYTES_A_TOKEN = 4  # roughly: the server's tokenizer is not known here
SCHEMA_NAME = "answer"  # the protocol wants one


class Call(NamedTuple):
    """One HTTP request. `tokens`: how many it takes at most, roughly, for the limit of tokens a minute."""

    path: str
    body: dict[str, Any]
    tokens: float


def generate(
    spec: OpenAIBackend, request: Request, generation: Generation, attempts: tuple[int, ...], shots: int
) -> Call:
    """Asks for one answer to each of these attempts, which follow each other; a chat completion for a conversation."""
    body = {"model": spec.model, **_options(spec, generation, attempts)}
    answers = generation.max_tokens * len(attempts)
    if is_chat(request):
        messages = chat_prompt(request, shots)
        body["messages"] = [{"role": m.role, "content": m.content} for m in messages]
        if generation.json_schema is not None:
            schema = {"name": SCHEMA_NAME, "schema": generation.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if generation.top_logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": generation.top_logprobs}
        size = sum(len(m.content.encode()) for m in messages)
        return Call(CHAT, {**body, **spec.extra_body}, size // BYTES_A_TOKEN + answers)
    body["prompt"] = text_prompt(request, shots)
    if generation.top_logprobs is not None:
        body["logprobs"] = generation.top_logprobs
    return Call(TEXT, {**body, **spec.extra_body}, len(body["prompt"].encode()) // BYTES_A_TOKEN + answers)


def echo(spec: OpenAIBackend, text: str) -> Call:
    """Asks how likely each token of `text` is. One more token is asked for, as many servers refuse none."""
    options = {"max_tokens": 1, "temperature": 0.0, "logprobs": 1, "echo": True}
    kept = {name: value for name, value in options.items() if name not in spec.omit}
    body = {"model": spec.model, "prompt": text, **kept, **spec.extra_body}
    return Call(TEXT, body, len(text.encode()) // BYTES_A_TOKEN + 1)


def _options(spec: OpenAIBackend, generation: Generation, attempts: tuple[int, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {
        spec.max_tokens_field: generation.max_tokens,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "seed": generation.seed + attempts[0],
    }
    if generation.stop:
        values["stop"] = list(generation.stop)
    if generation.top_k is not None:
        values["top_k"] = generation.top_k  # not OpenAI's, but vLLM's and its kin's
    if len(attempts) > 1:
        values["n"] = len(attempts)
    return {name: value for name, value in values.items() if name not in spec.omit}
