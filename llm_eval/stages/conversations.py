"""Conversations of several turns: what the user says next is asked with everything that was said before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from llm_eval.fingerprint import fingerprint
from llm_eval.layout import Layout, Shard
from llm_eval.prompts import turn_id
from llm_eval.records import Message, Request, Response
from llm_eval.stages.render import read_requests


class Turn(NamedTuple):
    """One request of a conversation with its response."""

    request: Request
    response: Response


def of_shard(requests: Sequence[Request], shard: Shard) -> list[Request]:
    """A shard's requests; all turns of a conversation are in the same one."""
    samples = {sample_id: place for place, sample_id in enumerate(dict.fromkeys(r.sample_id for r in requests))}
    return [request for request in requests if samples[request.sample_id] % shard.count == shard.index]


class Ready(NamedTuple):
    """Requests of one turn with the conversation before it, the failures of those whose conversation broke off, and of
    each later turn's request what its response `continues`."""

    requests: list[Request]
    hopeless: list[Response]
    continues: dict[str, str]


def ready(requests: Sequence[Request], place: Layout, answered: Mapping[tuple[str, int], Response]) -> Ready:
    if all(request.turn == 1 for request in requests):
        return Ready(list(requests), [], {})
    known = {request.id: request for request in read_requests(place)}
    found, hopeless, continues = [], [], {}
    for request in requests:
        before = [known[turn_id(request.sample_id, turn)] for turn in range(1, request.turn)]
        responses = [answered.get((earlier.id, 0)) for earlier in before]
        broken = next((turn for turn, r in enumerate(responses, start=1) if r is None or r.error is not None), None)
        if broken is None:
            answers = [r.text or "" for r in responses if r is not None]
            found.append(continued(request, before, answers))
            continues[request.id] = fingerprint(*answers)
        else:
            failed = responses[broken - 1]
            words = (failed.error if failed is not None else None) or "it was not asked"
            error = f"turn {broken} has no answer ({words})"
            hopeless.append(Response(request.id, finish_reason="error", error=error))
    return Ready(found, hopeless, continues)


def continued(request: Request, before: Sequence[Request], answers: Sequence[str]) -> Request:
    """A later turn's request with the turns before it and their answers; few-shot examples stay in front."""
    said: list[Message] = []
    for earlier, answer in zip(before, answers, strict=True):
        said += [*(earlier.messages or ()), Message("assistant", answer)]
    first = before[0]
    return replace(request, header=first.header, shots=first.shots, messages=(*said, *(request.messages or ())))


def last_turns(requests: Sequence[Request]) -> list[Request]:
    """Each sample's last request."""
    return list({request.sample_id: request for request in requests}.values())
