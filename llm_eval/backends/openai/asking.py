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
from dataclasses import replace
from typing import NamedTuple

from llm_eval.backends.openai.answers import usage_of
from llm_eval.backends.openai.bodies import Call
from llm_eval.backends.openai.crowd import Crowd, crowd_folder
from llm_eval.backends.openai.endpoints import Endpoint, endpoints
from llm_eval.backends.openai.faults import MAY_PASS, Fault, fault_of
from llm_eval.backends.openai.flow import Rate, Window
from llm_eval.backends.openai.generating import generated
from llm_eval.backends.openai.likelihoods import scored
from llm_eval.backends.openai.purse import Purse
from llm_eval.backends.openai.sending import Answer, send
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import BackendLost, InputError
from llm_eval.records import Request, Response
from llm_eval.specs import Generation, OpenAIBackend

TRIES = 8  # of what is broken; a busy server is asked for as long as `patience_seconds`
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds
LOST_IN_A_ROW = 10  # samples given up with no answer in between: the server is gone, not unlucky


class Work(NamedTuple):
    """What one try asks for."""

    request: Request
    attempts: tuple[int, ...]


class _Unaffordable(Exception):
    """The budget is spent: nothing more is sent."""


class Asker:
    """One server, or several that are the same. `owner` begins what it says."""

    def __init__(self, spec: OpenAIBackend, owner: str, place: Workplace | None = None) -> None:
        self._spec, self._owner = spec, owner
        self._endpoints = endpoints(spec, owner)
        self._turn = itertools.cycle(self._endpoints)
        self._loop = asyncio.new_event_loop()
        self._window = Window(spec.max_in_flight)
        limits = spec.requests_per_minute, spec.tokens_per_minute
        self._crowd = Crowd(crowd_folder(place.root, spec), place.shard.count) if place and any(limits) else None
        self._requests, self._tokens = (Rate(limit, self._sharers) for limit in limits)
        self._purse = Purse(spec.budget, place)
        self._given_up = 0  # in a row
        self._answered = self._away = 0
        self._words = ""  # for which the last one was given up
        self._last = time.monotonic()

    def answers(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """As `Backend.answer` says. Raises BudgetSpent when nothing more may be asked, after what was in flight."""
        works = [work for request in requests for work in works_of(self._spec, request, generation)]
        wanted = iter(works)
        came: asyncio.Queue[Response | asyncio.Task[None]] = asyncio.Queue()
        left = 0

        async def work() -> None:
            nonlocal left
            for each in wanted:
                try:
                    for response in await self._answer(each, generation):
                        came.put_nowait(response)
                except _Unaffordable:
                    left += len(each.attempts)

        self._last = time.monotonic()
        at_work = {self._loop.create_task(work()) for _ in range(min(self._spec.max_in_flight, len(works)))}
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
            if left:
                raise self._purse.shortage(self._owner, left)
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
        self._purse.close()
        if self._crowd is not None:
            self._crowd.close()
        for endpoint in self._endpoints:
            self._loop.run_until_complete(endpoint.client.close())
        self._loop.close()

    def _sharers(self) -> int:
        return 1 if self._crowd is None else self._crowd.size

    async def _answer(self, work: Work, generation: Generation) -> list[Response]:
        shots, faults = len(work.request.shots), Counter[str]()
        first_fault: float | None = None
        while True:
            endpoint = next(self._turn)
            try:
                return self._taken(await self._ask(endpoint, work, generation, shots))
            except Exception as error:  # noqa: BLE001 - fault_of raises again what is none of the server's
                fault = endpoint.hidden(fault_of(error))
            if fault.kind == "stop" or (fault.kind == "ignored" and not self._answered):
                does = "ignores" if fault.kind == "ignored" else "refuses"
                raise InputError(
                    f"{self._owner}: {endpoint} {does} what is asked ({fault.words}){endpoint.advice(fault)}"
                )
            if fault.kind == "too long" and shots:
                shots -= 1
                continue
            faults[fault.kind] += 1
            first_fault = time.monotonic() if first_fault is None else first_fault
            seconds = pause(faults.total()) if fault.wait_seconds is None else fault.wait_seconds
            patient = time.monotonic() + seconds - first_fault <= self._spec.patience_seconds
            if fault.kind not in MAY_PASS or not patient or faults["again"] + faults["away"] >= TRIES:
                return self._give_up(work, fault)
            await asyncio.sleep(seconds)

    async def _ask(self, endpoint: Endpoint, work: Work, generation: Generation, shots: int) -> list[Response]:
        async def send_here(call: Call) -> Answer:
            return await self._send(endpoint, call)

        if work.request.kind == "generate":
            return await generated(send_here, self._spec, work.request, work.attempts, generation, shots)
        return [await scored(send_here, self._spec, work.request, shots)]

    async def _send(self, endpoint: Endpoint, call: Call) -> Answer:
        await self._requests.wait(1)
        await self._tokens.wait(call.tokens)
        entered, refused = await self._window.enter(), False
        try:
            if self._purse.is_empty:
                raise _Unaffordable
            answer = await send(endpoint.client, call, self._spec.timeout_seconds, self._spec.stream)
        except _Unaffordable:
            raise
        except Exception as error:
            refused = fault_of(error).kind == "busy"
            raise
        finally:
            await self._window.leave(entered, refused=refused)
        usage = usage_of(answer.body)
        if self._purse.budget is not None and not usage.is_told:
            raise InputError(
                f"{self._owner}: {endpoint} does not say how many tokens it took, so no budget can be kept"
            )
        self._purse.pay(usage.input + usage.output, usage.cost_usd(self._spec.price))
        return answer

    def _taken(self, responses: list[Response]) -> list[Response]:
        """With each one's share of the time that has passed since the last."""
        self._given_up = 0
        self._answered += 1
        now = time.monotonic()
        share, self._last = (now - self._last) / len(responses), now
        return [replace(response, latency_seconds=share) for response in responses]

    def _give_up(self, work: Work, fault: Fault) -> list[Response]:
        """The sample's error. Raises BackendLost when it is the same for sample after sample: nobody gets an answer."""
        self._words = fault.words
        self._away += fault.kind == "away"
        if fault.kind in MAY_PASS:
            self._given_up += 1
            if self._given_up >= LOST_IN_A_ROW:
                raise BackendLost(
                    f"{self._owner}: {self._given_up} requests in a row were given up, the last one for {fault.words}"
                )
        return failed(work, fault.words)


def works_of(spec: OpenAIBackend, request: Request, generation: Generation) -> Iterator[Work]:
    if request.kind != "generate":
        yield Work(request, (0,))  # a likelihood is the same at every attempt
    elif spec.attempts_in_one_request:
        yield Work(request, tuple(range(generation.attempts)))
    else:
        yield from (Work(request, (attempt,)) for attempt in range(generation.attempts))


def failed(work: Work, words: str) -> list[Response]:
    return [Response(work.request.id, attempt, finish_reason="error", error=words) for attempt in work.attempts]


def pause(tries: int) -> float:
    """Seconds before the next try: doubling, and not for all at the same moment."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1)) * random.uniform(0.5, 1.0))
