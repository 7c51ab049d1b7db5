"""Asking one model in rounds: opened when first needed, every response on disk within seconds, progress shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple, Self

from llm_eval import signals
from llm_eval.backends import Backend, backend_of
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import InvalidData
from llm_eval.records import Request, Response
from llm_eval.specs import Checkpoint, Generation, ModelSpec
from llm_eval.stages import StageContext
from llm_eval.stages.memory import GIB, peak_memory_gib
from llm_eval.stages.parts import PartWriter
from llm_eval.stages.progress import Progress


class Planned(NamedTuple):
    """Who is asked, as a run was planned with it; `dataset` is the name that replayed answers are looked up by."""

    model: ModelSpec
    checkpoint: Checkpoint | None
    weights: str
    dataset: str
    run_id: str


class Asking:
    """Asks as often as one likes within a `with`; `folder` is where parts are written."""

    def __init__(
        self,
        planned: Planned,
        context: StageContext,
        folder: str,
        progress: Progress,
        outdated: frozenset[str],
        own_folder: str | None = None,
    ) -> None:
        """own_folder: of what counts against a budget and of batches on their way, where `folder` is many runs'.
        outdated: see Workplace.
        """
        self._planned, self._settings = planned, context.settings
        self._parts = PartWriter(folder, context.shard, outdated)
        place = own_folder or folder
        root, shard = context.layout.root, context.shard
        self._workplace = Workplace(root, place, shard, self._parts.name, outdated, context.waits)
        self._progress = progress
        self._backend: Backend | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(signals.saved(self._parts.seal))
        self._stack.enter_context(self._parts)
        self._stack.enter_context(self._progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._backend is not None:
                self._backend.close()
        finally:
            self._stack.close()

    def ask(
        self, requests: Sequence[Request], generation: Generation, continues: Mapping[str, str] | None = None
    ) -> list[Response]:
        """One response per request and attempt, each request with its own temperature where it has one.

        continues: of later turns, by request id; see Response.
        Raises InvalidData if what answers is not what was planned, and whatever `Backend.open` and `answer` do.
        """
        answered: list[Response] = []
        for temperature in dict.fromkeys(request.temperature for request in requests):
            own = {} if temperature is None else {"temperature": temperature}
            alike = [request for request in requests if request.temperature == temperature]
            answers = self._opened().answer(alike, generation.model_copy(update=own))
            answered += self.note(replace(r, continues=continues[r.request_id]) if continues else r for r in answers)
        return answered

    def note(self, responses: Iterable[Response]) -> list[Response]:
        """Keep responses, as they come."""
        noted = []
        for response in responses:
            noted.append(response)
            self._parts.add(response)
            self._progress.advance(response)
        return noted

    def peaks(self) -> dict[str, float]:
        """Peaks of memory, by the names that `records.Result` has for them; {} if nothing was opened."""
        if self._backend is None:
            return {}
        gpu = self._backend.peak_gpu_memory_bytes()
        on_gpu = {} if gpu is None else {"peak_gpu_memory_gib": round(gpu / GIB, 3)}
        return {"peak_memory_gib": peak_memory_gib(), **on_gpu}

    def _opened(self) -> Backend:
        if self._backend is None:
            self._check_identity()
            who = self._planned
            self._backend = backend_of(who.model).open(
                who.model, who.checkpoint, who.dataset, self._settings, self._workplace
            )
            self._check_identity()  # loading takes minutes, in which a training job may have written
        return self._backend

    def _check_identity(self) -> None:
        who = self._planned
        if backend_of(who.model).identity(who.model, who.checkpoint, who.dataset, self._settings) != who.weights:
            raise InvalidData(
                f"model {who.model.name!r}: what answers has changed since run {who.run_id} was planned (a checkpoint "
                "was overwritten, a branch of the hub moved, a file edited). Plan a new run; the responses so far stay."
            )
