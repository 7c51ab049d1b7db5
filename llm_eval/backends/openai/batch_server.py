"""A server's `/v1/files` and `/v1/batches`: hand in, look, fetch; what may pass is tried again."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from llm_eval.backends.openai.answers import BrokenAnswer
from llm_eval.backends.openai.asking import TRIES, pause
from llm_eval.backends.openai.endpoints import Endpoint
from llm_eval.backends.openai.faults import MAY_PASS, SHOWN, fault_of
from llm_eval.errors import BackendLost, InputError

logger = logging.getLogger(__name__)

T = TypeVar("T")

WINDOW = "24h"  # the one that OpenAI has
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


class State(NamedTuple):
    """Of one batch. files: with its answers, and with the errors of its requests, as far as there are any.

    done, total: requests. words: why it failed, where it did.
    """

    status: str
    files: tuple[str, ...]
    done: int
    total: int
    words: str

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


def _address(batch: str) -> str:
    return f"/batches/{quote(batch, safe='')}"


def _id(made: Any) -> str:
    """Raises BrokenAnswer."""
    id = made.get("id") if isinstance(made, dict) else None
    if not isinstance(id, str) or not id:
        raise BrokenAnswer("it names no id")
    return id


def _state(batch: Any) -> State:
    """Raises BrokenAnswer."""
    try:
        counts, errors = batch.get("request_counts") or {}, (batch.get("errors") or {}).get("data") or []
        said = "; ".join(dict.fromkeys(str(error.get("message")) for error in errors))[:SHOWN]
        files = tuple(str(batch[kind]) for kind in ("output_file_id", "error_file_id") if batch.get(kind))
        done, total = int(counts.get("completed") or 0), int(counts.get("total") or 0)
        return State(str(batch["status"]), files, done, total, said or "the server does not say why")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BrokenAnswer(f"{type(error).__name__}: {error}") from error


class BatchServer:
    """One address with one key. `owner` begins what it says."""

    def __init__(self, endpoint: Endpoint, owner: str, run: Callable[[Awaitable[Any]], Any]) -> None:
        self.endpoint, self._owner, self._run = endpoint, owner, run
        self._client: Any = endpoint.client

    def hand_in(self, lines: bytes, path: str) -> str:
        """The batch's id."""

        async def upload() -> str:
            made = await self._client.files.create(file=("requests.jsonl", lines, "application/jsonl"), purpose="batch")
            return _id(made if isinstance(made, str) else {"id": made.id})

        file = self._patiently(upload)
        body = {"input_file_id": file, "endpoint": path, "completion_window": WINDOW}

        async def create() -> str:
            return _id(await self._client.post("/batches", cast_to=object, body=body))

        return self._patiently(create)

    def withdraw(self, batch: str) -> None:
        self._patiently(lambda: self._client.post(f"{_address(batch)}/cancel", cast_to=object))

    def look(self, batch: str) -> State | None:
        """None where the server does not know it (any more)."""
        import openai

        async def retrieve() -> State | None:
            try:
                return _state(await self._client.get(_address(batch), cast_to=object))
            except openai.NotFoundError:
                return None

        state = self._patiently(retrieve)
        return state and state._replace(words=self.endpoint.shown(state.words))

    def lines(self, file: str) -> Iterator[dict[str, Any]]:
        """The objects of a file, a line each; what is none is left out."""
        content: bytes = self._patiently(lambda: self._client.files.content(file)).content
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                value = json.loads(line) if line.strip() else None
            except ValueError:
                value = line
            if isinstance(value, dict):
                yield value
            elif value is not None:
                logger.warning("%s: line %d of %s is no JSON object and is left out", self._owner, number, file)

    def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        found: T = self._run(self._tried(ask))
        return found

    async def _tried(self, ask: Callable[[], Awaitable[T]]) -> T:
        for tries in itertools.count(1):
            try:
                return await ask()
            except Exception as error:  # noqa: BLE001 - fault_of raises again what is none of the server's
                fault = self.endpoint.hidden(fault_of(error))
            if fault.kind not in MAY_PASS:
                raise InputError(
                    f"{self._owner}: {self.endpoint} refuses a batch ({fault.words}){self.endpoint.advice(fault)}"
                )
            if tries >= TRIES:
                raise BackendLost(
                    f"{self._owner}: {self.endpoint} was asked {tries} times about a batch: {fault.words}"
                )
            await asyncio.sleep(pause(tries) if fault.wait_seconds is None else fault.wait_seconds)
        raise AssertionError  # count() has no end
