"""infer: ask the model for every request of a shard that has no response yet; parts are safe on disk every few seconds.

A killed shard loses at most the part in memory. Parts carry their writer's name, so that two runs of the same pair may
write side by side; readers keep one response per request and attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from llm_eval import layout, signals, tables
from llm_eval.backends import Backend, backend_of
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import InvalidData
from llm_eval.layout import Layout
from llm_eval.records import LATER_OF_RESPONSE, Request, Response
from llm_eval.stages import Counts, StageContext, read_counts
from llm_eval.stages.effort import Effort
from llm_eval.stages.memory import GIB, peak_memory_gib
from llm_eval.stages.parts import PartWriter
from llm_eval.stages.progress import Progress
from llm_eval.stages.render import read_requests
from llm_eval.storage import files

logger = logging.getLogger(__name__)

PEAKS = ("peak_memory_gib", "peak_gpu_memory_gib")


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
    asked, peaks = _ask(context, rest) if rest else ([], {})
    current = latest_of_each([*known.values(), *asked])
    mine = [current[r.id, a] for r in requests for a in range(attempts) if (r.id, a) in current]
    return {
        "requests": len(requests),
        "asked": len(rest),
        "failed": sum(r.error is not None for r in mine),
        **Effort.of(mine).counts(),
        **_largest([peaks, {} if context.force else read_peaks(context.layout)]),
    }


def _unanswered(response: Response | None) -> bool:
    return response is None or response.error is not None


def _ask(context: StageContext, requests: Sequence[Request]) -> tuple[list[Response], dict[str, float]]:
    """The responses, and the peaks of memory."""
    run, kind = context.run, backend_of(context.run.model)
    place = (run.model, run.checkpoint, run.dataset.name, context.settings)
    if kind.identity(*place) != run.weights:
        raise InvalidData(
            f"model {run.model.name!r}: what answers has changed since run {run.run_id} was planned (a checkpoint was "
            "overwritten, a branch of the hub moved, a file edited). Plan a new run; the responses so far stay."
        )
    answered: list[Response] = []
    parts = PartWriter(context.layout.responses, context.shard)
    workplace = Workplace(
        context.layout.root, context.layout.responses, context.shard, parts.name, context.force, context.waits
    )
    with signals.saved(parts.flush), parts:
        backend = kind.open(*place, workplace)
        try:
            with Progress(f"infer {context.shard}", requests, run.dataset.generation.attempts) as progress:
                for response in backend.answer(requests, run.dataset.generation):
                    answered.append(response)
                    parts.add(response)
                    progress.advance(response)
            return answered, _peaks(backend)
        finally:
            backend.close()


def _peaks(backend: Backend) -> dict[str, float]:
    gpu = backend.peak_gpu_memory_bytes()
    on_gpu = {} if gpu is None else {"peak_gpu_memory_gib": round(gpu / GIB, 3)}
    return {"peak_memory_gib": peak_memory_gib(), **on_gpu}


def read_peaks(place: Layout) -> dict[str, float]:
    """Peaks of memory, by the names that `records.Result` has for them, of the largest shard that is done."""
    manifests = [f for f in files(place.responses, ".json") if "/manifest-" in f]
    return _largest(counts for manifest in manifests if (counts := read_counts(manifest)) is not None)


def _largest(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    largest: dict[str, float] = {}
    for figures in several:
        largest |= {name: max(figures[name], largest.get(name, 0.0)) for name in PEAKS if name in figures}
    return largest


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
    return latest_of_each(tables.read_all(parts, Response, LATER_OF_RESPONSE))
