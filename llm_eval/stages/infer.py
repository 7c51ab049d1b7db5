"""infer: ask the model for every request of a shard that has no response yet; parts are safe on disk every few seconds.

A killed shard loses at most the part in memory. Parts carry their writer's name, so that two runs of the same pair may
write side by side; readers keep one response per request and attempt.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Sequence

from llm_eval import layout, tables
from llm_eval.backends import backend_of
from llm_eval.errors import InvalidData
from llm_eval.layout import Layout, Shard
from llm_eval.records import Request, Response
from llm_eval.stages import Counts, StageContext
from llm_eval.stages.progress import Progress
from llm_eval.stages.render import read_requests
from llm_eval.storage import files

logger = logging.getLogger(__name__)

PART_SECONDS = 5.0
PART_ROWS = 500


def manifest(context: StageContext) -> str:
    shard = context.shard
    return layout.join(context.layout.responses, f"manifest-{shard.index}of{shard.count}.json")


def run(context: StageContext) -> Counts:
    requests = read_requests(context.layout)[context.shard.index :: context.shard.count]
    known = {} if context.force else read_responses(context.layout)
    attempts = context.run.dataset.generation.attempts if context.run.dataset.prompt.kind == "generate" else 1
    rest = [r for r in requests if any(_unanswered(known.get((r.id, a))) for a in range(attempts))]
    logger.info(
        "infer: %d of %d requests already answered, asking %d", len(requests) - len(rest), len(requests), len(rest)
    )
    asked = _ask(context, rest) if rest else []
    current = latest_of_each([*known.values(), *asked])
    mine = [current[r.id, a] for r in requests for a in range(attempts) if (r.id, a) in current]
    return {
        "requests": len(requests),
        "asked": len(rest),
        "failed": sum(r.error is not None for r in mine),
        "input_tokens": sum(r.input_tokens for r in mine),
        "output_tokens": sum(r.output_tokens for r in mine),
    }


def _unanswered(response: Response | None) -> bool:
    return response is None or response.error is not None


def _ask(context: StageContext, requests: Sequence[Request]) -> list[Response]:
    run, kind = context.run, backend_of(context.run.model)
    place = (run.model, run.checkpoint, run.dataset.name, context.settings)
    if kind.identity(*place) != run.weights:
        raise InvalidData(
            f"model {run.model.name!r}: what answers has changed since run {run.run_id} was planned (a checkpoint was "
            "overwritten, a branch of the hub moved, a file edited). Plan a new run; the responses so far stay."
        )
    backend = kind.open(*place)
    parts = PartWriter(context.layout.responses, context.shard)
    answered: list[Response] = []
    try:
        with Progress(f"infer {context.shard}", len(requests) * run.dataset.generation.attempts) as progress:
            for response in backend.answer(requests, run.dataset.generation):
                answered.append(response)
                parts.add(response)
                progress.advance(response.input_tokens + response.output_tokens)
    finally:
        # Also on SIGTERM, Ctrl-C and a lost backend: what was answered stays answered.
        parts.flush()
        backend.close()
    return answered


class PartWriter:
    """Collects responses and writes them as numbered parts, each complete or absent."""

    def __init__(self, folder: str, shard: Shard) -> None:
        # Names sort by the time their writer began: what was asked again, by force, comes after what it replaces.
        began, writer = time.time_ns() // 1_000_000, uuid.uuid4().hex[:8]
        self._prefix = layout.join(folder, f"part-{began:013d}-{writer}-{shard.index}of{shard.count}")
        self._rows: list[Response] = []
        self._chunk = 0
        self._last_write = time.monotonic()

    def add(self, response: Response) -> None:
        self._rows.append(response)
        if len(self._rows) >= PART_ROWS or time.monotonic() - self._last_write >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            tables.write(f"{self._prefix}-{self._chunk:05d}.parquet", Response, self._rows)
            self._chunk += 1
            self._rows = []
        self._last_write = time.monotonic()


def latest_of_each(responses: Iterable[Response]) -> dict[tuple[str, int], Response]:
    """One response per request and attempt: the last one, but never a failed one where another was answered."""
    kept: dict[tuple[str, int], Response] = {}
    for response in responses:
        key = (response.request_id, response.attempt)
        if response.error is None or _unanswered(kept.get(key)):
            kept[key] = response
    return kept


def read_responses(place: Layout) -> dict[tuple[str, int], Response]:
    """All responses so far, by request id and attempt, from every shard and every run with this fingerprint."""
    parts = [f for f in files(place.responses, ".parquet") if "/part-" in f]
    return latest_of_each(tables.read_all(parts, Response))
