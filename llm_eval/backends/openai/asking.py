"""Asks a server for many answers at once, and gives them out as they come.

An event loop that runs while the next answer is waited for, with as many workers as requests may be in flight. What may
pass (a busy server, a lost connection, an answer that is no answer) is tried again with growing pauses; what one sample
cannot have is that sample's error; what no sample can have stops everything, with the server's own words.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from llm_eval.backends.openai.answers import read
from llm_eval.backends.openai.endpoints import Endpoint, endpoints
from llm_eval.backends.openai.faults import MAY_PASS, Fault, fault_of
from llm_eval.backends.openai.flow import Rate, Window
from llm_eval.errors import BackendLost, InputError
from llm_eval.prompts import chat_prompt, is_chat, text_prompt
from llm_eval.records import Request, Response
from llm_eval.specs import Generation, OpenAIBackend

TRIES = 8  # of what is broken; a busy server is asked for as long as `patience_seconds`
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds
LOST_IN_A_ROW = 10  # samples given up with no answer in between: the server is gone, not unlucky


class Asker:
    """One server, or several that are the same. `owner` begins what it says."""

    def __init__(self, spec: OpenAIBackend, owner: str) -> None:
        self._spec, self._owner = spec, owner
        self._endpoints = endpoints(spec, owner)
        self._turn = itertools.cycle(self._endpoints)
        self._loop = asyncio.new_event_loop()
        self._window = Window(spec.max_in_flight)
        self._requests, self._tokens = Rate(spec.requests_per_minute), Rate(spec.tokens_per_minute)
        self._given_up = 0  # in a row
        self._answered = self._away = 0
        self._words = ""  # for which the last one was given up
        self._last = time.monotonic()

    def answers(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """As `Backend.answer` says."""
        wanted = ((request, attempt) for request in requests for attempt in range(generation.attempts))
        came: asyncio.Queue[Response | asyncio.Task[None]] = asyncio.Queue()

        async def work() -> None:
            for request, attempt in wanted:
                came.put_nowait(await self._answer(request, attempt, generation))

        self._last = time.monotonic()
        workers = min(self._spec.max_in_flight, len(requests) * generation.attempts)
        at_work = {self._loop.create_task(work()) for _ in range(workers)}
        for task in at_work:
            task.add_done_callback(came.put_nowait)
        try:
            while at_work or not came.empty():
                one = self._loop.run_until_complete(came.get()) if came.empty() else came.get_nowait()
                if isinstance(one, Response):
                    yield one
                else:
                    at_work.discard(one)
                    one.result()  # raises what ended it
            if self._away and not self._answered:
                raise BackendLost(f"{self._owner}: not one of {self._away} requests was answered: {self._words}")
        finally:
            for task in at_work:
                task.cancel()
            if at_work:
                ended, _ = self._loop.run_until_complete(asyncio.wait(at_work))
                for task in ended:  # one error is raised; asyncio would print the others
                    if not task.cancelled():
                        task.exception()

    def close(self) -> None:
        for endpoint in self._endpoints:
            self._loop.run_until_complete(endpoint.client.close())
        self._loop.close()

    async def _answer(self, request: Request, attempt: int, generation: Generation) -> Response:
        shots, faults = len(request.shots), Counter[str]()
        first_fault: float | None = None
        while True:
            endpoint = next(self._turn)
            try:
                return await self._ask(endpoint, request, attempt, generation, shots)
            except Exception as error:  # noqa: BLE001 - fault_of raises again what is none of the server's
                fault = endpoint.hidden(fault_of(error))
            if fault.kind == "stop":
                raise InputError(
                    f"{self._owner}: {endpoint} refuses what is asked ({fault.words}){endpoint.advice(fault)}"
                )
            if fault.kind == "too long" and shots:
                shots -= 1
                continue
            faults[fault.kind] += 1
            first_fault = time.monotonic() if first_fault is None else first_fault
            pause = _pause(faults.total()) if fault.wait_seconds is None else fault.wait_seconds
            patient = time.monotonic() + pause - first_fault <= self._spec.patience_seconds
            if fault.kind not in MAY_PASS or not patient or faults["again"] + faults["away"] >= TRIES:
                return self._give_up(request, attempt, fault)
            await asyncio.sleep(pause)

    async def _ask(
        self, endpoint: Endpoint, request: Request, attempt: int, generation: Generation, shots: int
    ) -> Response:
        pauses = self._requests.take(1), self._tokens.take(_tokens(request, shots) + generation.max_tokens)
        if any(pauses):
            await asyncio.sleep(max(pauses))
        entered, refused = await self._window.enter(), False
        try:
            answer = await self._call(endpoint.client, request, attempt, generation, shots)
            said = read(answer, is_chat(request))
        except Exception as error:
            refused = fault_of(error).kind == "busy"
            raise
        finally:
            await self._window.leave(entered, refused=refused)
        self._given_up = 0
        self._answered += 1
        now = time.monotonic()
        share, self._last = now - self._last, now
        return Response(
            request.id,
            attempt,
            _cut(said.text, generation.stop),
            shots=shots,
            input_tokens=said.input_tokens,
            output_tokens=said.output_tokens,
            finish_reason="length" if said.is_cut else "stop",
            latency_seconds=share,
        )

    async def _call(self, client: Any, request: Request, attempt: int, generation: Generation, shots: int) -> Any:
        """The answer as JSON. Raises whatever the SDK does.

        Without the SDK's types for bodies and answers, which take a third of its CPU time.
        """
        body = {"model": self._spec.model, **_options(self._spec, generation, attempt)}
        if is_chat(request):
            body["messages"] = [{"role": m.role, "content": m.content} for m in chat_prompt(request, shots)]
            return await client.post("/chat/completions", cast_to=object, body=body)
        body["prompt"] = text_prompt(request, shots)
        return await client.post("/completions", cast_to=object, body=body)

    def _give_up(self, request: Request, attempt: int, fault: Fault) -> Response:
        """The sample's error. Raises BackendLost when it is the same for sample after sample: nobody gets an answer."""
        self._words = fault.words
        self._away += fault.kind == "away"
        if fault.kind in MAY_PASS:
            self._given_up += 1
            if self._given_up >= LOST_IN_A_ROW:
                raise BackendLost(
                    f"{self._owner}: {self._given_up} requests in a row were given up, the last one for {fault.words}"
                )
        return Response(request.id, attempt, finish_reason="error", error=fault.words)


def _options(spec: OpenAIBackend, generation: Generation, attempt: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        spec.max_tokens_field: generation.max_tokens,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "seed": generation.seed + attempt,
    }
    if generation.stop:
        values["stop"] = list(generation.stop)
    if generation.top_k is not None:
        values["top_k"] = generation.top_k  # not OpenAI's, but vLLM's and its kin's
    return {**{name: value for name, value in values.items() if name not in spec.omit}, **spec.extra_body}


def _cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop; some servers leave it in, and some know fewer stops than were asked for."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]


def _tokens(request: Request, shots: int) -> int:
    """How many tokens a prompt has, roughly: the server's tokenizer is not known here."""
    if is_chat(request):
        return sum(len(m.content.encode()) for m in chat_prompt(request, shots)) // 4
    return len(text_prompt(request, shots).encode()) // 4


def _pause(tries: int) -> float:
    """Seconds before the next try: doubling, and not for all at the same moment."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1)) * random.uniform(0.5, 1.0))
