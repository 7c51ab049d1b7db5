"""infer: ask the model for every request of a shard that has no response yet; parts are safe on disk every few seconds.

A killed shard loses at most the part in memory. Parts carry their writer's name, so that two runs of the same pair may
write side by side; readers keep one response per request and attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from llm_eval import layout
from llm_eval.layout import Layout
from llm_eval.records import Request, Response
from llm_eval.stages import Counts, StageContext, conversations, forced, read_counts
from llm_eval.stages.asking import Asking, Planned
from llm_eval.stages.effort import Effort
from llm_eval.stages.progress import Progress
from llm_eval.stages.render import read_requests
from llm_eval.stages.responses import is_unanswered, latest_of_each, read_responses
from llm_eval.storage import files

logger = logging.getLogger(__name__)

Known = Mapping[tuple[str, int], Response]
PEAKS = ("peak_memory_gib", "peak_gpu_memory_gib")


def manifest(context: StageContext) -> str:
    shard = context.shard
    return layout.join(context.layout.responses, f"manifest-{shard.index}of{shard.count}.json")


def run(context: StageContext) -> Counts:
    requests = conversations.of_shard(read_requests(context.layout), context.shard)
    outdated = forced.outdated(context, "infer", context.layout.responses)
    known = read_responses(context.layout, context.shard, outdated)
    attempts = context.run.dataset.generation.attempts if context.run.dataset.prompt.kind == "generate" else 1
    rest = [r for r in requests if any(is_unanswered(known.get((r.id, a))) for a in range(attempts))]
    logger.info(
        "infer: %d of %d requests already answered, asking %d", len(requests) - len(rest), len(requests), len(rest)
    )
    asked, peaks = _ask(context, rest, known, outdated) if rest else ([], {})
    current = latest_of_each([*known.values(), *asked])
    mine = [current[r.id, a] for r in requests for a in range(attempts) if (r.id, a) in current]
    return {
        "requests": len(requests),
        "asked": len(rest),
        "failed": sum(r.error is not None for r in mine),
        **Effort.of(mine).counts(),
        **_largest([peaks, {} if context.force else (read_counts(manifest(context)) or {})]),
    }


def _ask(
    context: StageContext, requests: Sequence[Request], known: Known, outdated: frozenset[str]
) -> tuple[list[Response], dict[str, float]]:
    """The responses, and the peaks of memory. A later turn is asked once the turn before it is answered."""
    run = context.run
    planned = Planned(run.model, run.checkpoint, run.weights, run.dataset.name, run.run_id)
    answered = dict(known)
    everything: list[Response] = []
    progress = Progress(f"infer {context.shard}", requests, run.dataset.generation.attempts)
    with Asking(planned, context, context.layout.responses, progress, outdated) as asking:
        for turn in sorted({request.turn for request in requests}):
            ready = conversations.ready([r for r in requests if r.turn == turn], context.layout, answered)
            came = [
                *asking.note(ready.hopeless),
                *asking.ask(ready.requests, run.dataset.generation, ready.continues),
            ]
            everything += came
            answered |= latest_of_each(came)
        return everything, asking.peaks()


def read_peaks(place: Layout) -> dict[str, float]:
    """Peaks of memory, by the names that `records.Result` has for them, of the largest shard that is done."""
    manifests = [f for f in files(place.responses, ".json") if "/manifest-" in f]
    return _largest(counts for manifest in manifests if (counts := read_counts(manifest)) is not None)


def _largest(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    largest: dict[str, float] = {}
    for figures in several:
        largest |= {name: max(figures[name], largest.get(name, 0.0)) for name in PEAKS if name in figures}
    return largest
