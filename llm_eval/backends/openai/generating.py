"""What one request to continue a prompt brings: a response for each attempt that it asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from llm_eval.backends.openai.answers import Said, read, usage_of
from llm_eval.backends.openai.bodies import Call, generate
from llm_eval.backends.openai.sending import Answer
from llm_eval.prompts import is_chat
from llm_eval.records import Request, Response
from llm_eval.specs import Generation, OpenAIBackend

Send = Callable[[Call], Awaitable[Answer]]


async def generated(
    send: Send, spec: OpenAIBackend, request: Request, attempts: tuple[int, ...], generation: Generation, shots: int
) -> list[Response]:
    """Raises as `send` and `answers.read` do. Answers of one request share its tokens and its cost evenly."""
    answer = await send(generate(spec, request, generation, attempts, shots))
    choices = read(answer.body, is_chat(request), len(attempts), generation.top_logprobs)
    return responses(spec, request, attempts, choices, answer, generation.stop, shots)


def responses(
    spec: OpenAIBackend,
    request: Request,
    attempts: Sequence[int],
    choices: Sequence[Said],
    answer: Answer,
    stops: Sequence[str],
    shots: int,
) -> list[Response]:
    usage, count = usage_of(answer.body), len(attempts)
    cost = usage.cost_usd(spec.price)
    return [
        Response(
            request.id,
            attempt,
            _cut(said.text, stops),
            first_tokens=said.first_tokens,
            shots=shots,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            finish_reason="length" if said.is_cut else "stop",
            cost_usd=None if cost is None else cost / count,
            request_seconds=answer.seconds,
            first_token_seconds=answer.first_token_seconds,
        )
        for attempt, said, input_tokens, output_tokens in zip(
            attempts, choices, _shares(usage.input, count), _shares(usage.output, count), strict=True
        )
    ]


def _shares(total: int, count: int) -> list[int]:
    """`total` in so many parts that differ by one at most."""
    return [total * (i + 1) // count - total * i // count for i in range(count)]


def _cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop; some servers leave it in, and some know fewer stops than were asked for."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]
