"""Answers by a server's batch API: requests are handed in as a file, and answers are fetched when all are there.

What was handed in is noted beside the responses before anything is waited for, so that who comes after a lost worker
goes on waiting instead of paying twice. A note stays when its answers were given out: those that were lost on their way
to a part are fetched again. Only a worker that is lost between the server's answer and the note, within milliseconds,
leaves a batch behind that nobody fetches.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from llm_eval.backends.openai.answers import BrokenAnswer, IgnoredOption, read
from llm_eval.backends.openai.asking import Asker, Work, failed, works_of
from llm_eval.backends.openai.batch_notes import Note, new_place, read_notes
from llm_eval.backends.openai.batch_server import BatchServer, State
from llm_eval.backends.openai.bodies import generate
from llm_eval.backends.openai.endpoints import endpoints, identity_of
from llm_eval.backends.openai.faults import Fault, fault_of, fault_of_status
from llm_eval.backends.openai.generating import responses
from llm_eval.backends.openai.purse import Purse
from llm_eval.backends.openai.sending import Answer
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import BackendLost, InputError, StillWaiting
from llm_eval.fingerprint import fingerprint
from llm_eval.prompts import is_chat
from llm_eval.records import Request, Response
from llm_eval.specs import Generation, OpenAIBackend

logger = logging.getLogger(__name__)

MOST_REQUESTS, MOST_BYTES = 50_000, 190_000_000  # of one batch; OpenAI takes 50,000 and 200 MB


class Batches:
    """Waits for answers, or raises StillWaiting where its workplace says that it is not to wait."""

    def __init__(self, spec: OpenAIBackend, owner: str, place: Workplace) -> None:
        self._spec, self._owner, self._place = spec, owner, place
        self._who = identity_of(spec)
        self._loop = asyncio.new_event_loop()
        self._servers = [BatchServer(e, owner, self._loop.run_until_complete) for e in endpoints(spec, owner)]
        self._turn = itertools.cycle(self._servers)
        self._purse = Purse(spec.budget, place)
        self._read_notes()
        self._too_long: dict[str, Request] = {}
        self._answered = 0

    def answers(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """As `Backend.answer` says, in the order of the server's files. Raises StillWaiting and BudgetSpent."""
        wanted = {_custom_id(work): work for request in requests for work in works_of(self._spec, request, generation)}
        is_handed_in = False
        while not is_handed_in:
            yield from self._lost_ones(wanted, generation)
            is_handed_in = self._hand_in(wanted, generation)
        for note, state in self._ended(wanted.keys()):
            yield from self._fetched(note, state, wanted, generation)
            note.given_out().write()
        if self._too_long:
            too_long, self._too_long = self._too_long, {}
            yield from self._asked_at_once(list(too_long.values()), generation)

    def close(self) -> None:
        self._purse.close()
        for server in self._servers:
            self._loop.run_until_complete(server.endpoint.client.close())
        self._loop.close()

    def _read_notes(self) -> None:
        self._all_notes = read_notes(self._place, self._who)
        self._notes = [
            note for note in self._all_notes if not (note.is_lost or (note.is_given_out and self._is_outdated(note)))
        ]

    def _is_outdated(self, note: Note) -> bool:
        return note.place.rpartition("/")[2] in self._place.outdated

    def _waited_for(self) -> set[str]:
        return {id for note in self._notes if not note.is_given_out for id in note.asked}

    def _lost_ones(self, wanted: dict[str, Work], generation: Generation) -> Iterator[Response]:
        """Answers that were given out before, and are wanted all the same."""
        for note in self._notes:
            lost = note.asked & wanted.keys() - self._waited_for() if note.is_given_out else None
            if lost and (state := self._server(note).look(note.id)) is not None:
                yield from self._fetched(note, state, wanted, generation, only_answers=True)

    def _hand_in(self, wanted: dict[str, Work], generation: Generation) -> bool:
        """Whatever no batch is at work on; False where another run of the same pair was quicker with the same.

        Raises BudgetSpent where there is something to hand in, and no money.
        """
        while fresh := [id for id in wanted if id not in self._waited_for()]:
            if self._purse.is_empty:
                raise self._purse.shortage(self._owner, len(fresh))
            lines: list[bytes] = []
            ids: list[str] = []
            size = 0
            for id in fresh[:MOST_REQUESTS]:
                line, path = _line(self._spec, id, wanted[id], generation)
                size += len(line)
                if lines and size > MOST_BYTES:
                    break
                lines.append(line)
                ids.append(id)
            if not self._hand_in_one(b"".join(lines), frozenset(ids), path):
                return False
        return True

    def _hand_in_one(self, lines: bytes, asked: frozenset[str], path: str) -> bool:
        # The place after the notes that were read when these were found to be fresh: a newer note has taken it.
        place = new_place(self._place, self._who, self._all_notes)
        server = next(self._turn)
        batch = server.hand_in(lines, path)
        note = Note(place, batch, server.endpoint.url, server.endpoint.variable, asked)
        if not note.create():
            server.withdraw(batch)
            self._read_notes()
            return False
        logger.info("%s: batch %s of %d requests is handed in", self._owner, batch, len(asked))
        self._all_notes.append(note)
        self._notes.append(note)
        return True

    def _ended(self, wanted: Collection[str]) -> Iterator[tuple[Note, State]]:
        """Every batch that was waited for, once all have ended."""
        pending = [note for note in self._notes if not note.is_given_out and note.asked & set(wanted)]
        while True:
            states = [(note, self._state(note)) for note in pending]
            if all(state.has_ended for _, state in states):
                break
            done, total = sum(s.done for _, s in states), sum(s.total for _, s in states)
            said = f"{len(states)} batch(es) at work, {done} of {total} requests done"
            if not self._place.waits:
                raise StillWaiting(f"{self._owner}: {said}", self._spec.poll_seconds)
            logger.info("%s: %s; looking again in %g s", self._owner, said, self._spec.poll_seconds)
            time.sleep(self._spec.poll_seconds)
        yield from states

    def _state(self, note: Note) -> State:
        """Raises BackendLost for a batch that is gone, InputError for one that the server refused."""
        server = self._server(note)
        state = server.look(note.id)
        if state is None:
            note.lost().write()
            raise BackendLost(
                f"{self._owner}: {note.url} does not know batch {note.id} any more; it is handed in again"
            )
        if state.status == "failed":
            note.lost().write()
            raise InputError(f"{self._owner}: {note.url} refuses batch {note.id}: {state.words}")
        return state

    def _server(self, note: Note) -> BatchServer:
        """Where the batch was handed in, with the same key: others do not see it."""
        for server in self._servers:
            if (server.endpoint.url, server.endpoint.variable) == (note.url, note.variable):
                return server
        raise InputError(
            f"{self._owner}: batch {note.id} was handed in to {note.url} with the key in {note.variable}, which the "
            f"model's YAML no longer names. Name them again, or delete {note.place} to hand its requests in anew."
        )

    def _fetched(
        self, note: Note, state: State, wanted: dict[str, Work], generation: Generation, only_answers: bool = False
    ) -> Iterator[Response]:
        """Of the requests that are wanted, which then are so no more. `only_answers`: what failed stays wanted."""
        server = self._server(note)
        for file in state.files:
            for line in server.lines(file):
                id = str(line.get("custom_id"))
                if id not in note.asked or id not in wanted:
                    continue
                found = self._outcome(line, wanted[id], generation)
                if isinstance(found, Fault) and only_answers:
                    continue
                work = wanted.pop(id)
                yield from self._failed(work, server.endpoint.hidden(found)) if isinstance(found, Fault) else found
        for id in [] if only_answers else sorted(note.asked & wanted.keys()):
            yield from failed(wanted.pop(id), f"batch {note.id} ended ({state.status}) without an answer to this")

    def _outcome(self, line: dict[str, Any], work: Work, generation: Generation) -> list[Response] | Fault:
        said, error = line.get("response"), line.get("error")
        if not isinstance(said, dict):
            words = error.get("message") or error.get("code") if isinstance(error, dict) else error
            return Fault("again", f"the batch gave up on this ({words})")
        if said.get("status_code") != 200:
            return fault_of_status(said.get("status_code"), said.get("body"))
        shots = len(work.request.shots)
        answer = Answer(said.get("body"), None)
        try:
            choices = read(answer.body, is_chat(work.request), len(work.attempts), generation.top_logprobs)
        except IgnoredOption as ignored:
            if not self._answered:
                raise InputError(f"{self._owner}: the server ignores {ignored}") from ignored
            return fault_of(ignored)
        except BrokenAnswer as broken:
            return fault_of(broken)
        self._answered += 1
        return responses(self._spec, work.request, work.attempts, choices, answer, generation.stop, shots)

    def _failed(self, work: Work, fault: Fault) -> list[Response]:
        if fault.kind == "too long" and work.request.shots:
            self._too_long[work.request.id] = work.request
            return []
        return failed(work, fault.words)

    def _asked_at_once(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """What does not fit with all its examples: a batch for each example that is left out would take days."""
        logger.info("%s: %d requests do not fit with all examples and are asked at once", self._owner, len(requests))
        asker = Asker(self._spec, self._owner, self._place)
        try:
            yield from asker.answers(requests, generation)
        finally:
            asker.close()


def _custom_id(work: Work) -> str:
    return f"{work.attempts[0]}-{fingerprint(work.request.id)}"


def _line(spec: OpenAIBackend, id: str, work: Work, generation: Generation) -> tuple[bytes, str]:
    """One line of the file, and the path that it is for, which is the same for all of a dataset."""
    call = generate(spec, work.request, generation, work.attempts, len(work.request.shots))
    path = f"/v1{call.path}"
    values = {"custom_id": id, "method": "POST", "url": path, "body": call.body}
    return json.dumps(values, ensure_ascii=False).encode() + b"\n", path
