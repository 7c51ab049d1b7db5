"""score: find the answer in each response and measure it. Whose fault is it? decides what a missing value means.

The model gave nothing usable: `no_answer`, its penalty counts. Our call failed: `failed`, no value, left out, counted;
above the dataset's `max_failed_fraction` the run fails.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

from llm_eval import layout
from llm_eval.errors import IncompleteStage, TooManyFailures
from llm_eval.extract import Extraction, extract
from llm_eval.layout import Layout
from llm_eval.metrics import Measure, Metric, UnusableResponse, get_metric
from llm_eval.records import Request, Response, Sample, Score
from llm_eval.specs import DatasetSpec, NamedCall
from llm_eval.stages import Counts, StageContext
from llm_eval.stages.conversations import last_turns
from llm_eval.stages.fetch import read_samples
from llm_eval.stages.render import read_requests
from llm_eval.stages.responses import parts_so_far, read_parts
from llm_eval.stages.scored import write_scored

logger = logging.getLogger(__name__)


def manifest(context: StageContext) -> str:
    return layout.join(context.layout.scores, "manifest.json")


def run(context: StageContext) -> Counts:
    dataset = context.run.dataset
    samples = {s.id: s for s in read_samples(context.layout)}
    requests = read_requests(context.layout)
    parts = parts_so_far(context.layout)
    responses = complete(requests, read_parts(context.layout, parts), dataset, context.layout)
    last = {request.id for request in last_turns(requests)}
    scores = [
        score
        for request, response in responses
        if request.id in last
        for score in score_response(response, samples[request.sample_id], dataset)
    ]
    address = write_scored(context.layout, scores, parts)
    rule = dataset.metrics[0].name if dataset.metrics else None
    headline = [s for s in scores if s.metric == rule]
    check_failures(headline, dataset.max_failed_fraction, address, "infer", context.layout.run_uri)
    found = Counter(s.status for s in headline)
    # Also where nothing but judges measures: this stage is done again then, and reads what has come since.
    lost = sum(response.error is not None for request, response in responses if request.id in last)
    return {
        "samples": len(last),
        "scored": found["scored"],
        "no_answer": found["no_answer"],
        "failed": max(found["failed"], lost),
    }


def complete(
    requests: Sequence[Request], responses: dict[tuple[str, int], Response], dataset: DatasetSpec, place: Layout
) -> list[tuple[Request, Response]]:
    """Each request with each of its responses. Raises IncompleteStage if one has none."""
    attempts = range(dataset.generation.attempts if dataset.prompt.kind == "generate" else 1)
    if missing := [(r.id, a) for r in requests for a in attempts if (r.id, a) not in responses]:
        raise IncompleteStage(
            f"{len(missing)} of {len(requests) * len(attempts)} responses are missing under {place.responses}, "
            f"the first for {missing[0][0]!r}. Run `llm-eval infer {place.run_uri}` for every shard; it asks for these."
        )
    return [(r, responses[r.id, a]) for r in requests for a in attempts]


def score_response(response: Response, sample: Sample, dataset: DatasetSpec) -> Iterator[Score]:
    """One score per metric of the dataset, in the YAML's order."""
    generated = dataset.prompt.kind == "generate"
    found = extract(response.text or "", sample, dataset.extract) if generated and response.error is None else None
    for call in dataset.metrics:
        yield _score(response, sample, get_metric(call.name), call, found)


def _score(response: Response, sample: Sample, metric: Metric, call: NamedCall, found: Extraction | None) -> Score:
    place = (sample.id, sample.subset, response.attempt, metric.name)
    if response.error is not None:
        return Score(*place, value=None, status="failed", explanation=response.error)
    if found is not None and found.outcome != "answered" and metric.no_answer is not None:
        measure = metric.no_answer(sample, **call.options)
        reason = found.outcome.replace("_", " ") + (f": {found.explanation}" if found.explanation else "")
        return Score(*place, measure.value, "no_answer", explanation=reason, statistics=measure.statistics)
    try:
        subject = response if found is None else found.answer or ""
        measure = metric.function(subject, sample, **call.options)
    except UnusableResponse as error:
        return Score(*place, value=None, status="failed", explanation=str(error))
    return Score(*place, measure.value, "scored", _answer(found, measure), measure.explanation, measure.statistics)


def _answer(found: Extraction | None, measure: Measure) -> str | None:
    return measure.answer if found is None else found.answer


def check_failures(scores: Sequence[Score], allowed: float, address: str, stage: str, run_uri: str) -> None:
    """Raises TooManyFailures; `stage` asks again for those that failed, `address` is where every row is."""
    failed = [s for s in scores if s.status == "failed"]
    if len(failed) > allowed * len(scores):
        reasons = Counter(s.explanation for s in failed).most_common(3)
        shown = "; ".join(f"{reason} ({count}×)" for reason, count in reasons)
        raise TooManyFailures(
            f"{len(failed)} of {len(scores)} samples failed, max_failed_fraction allows {allowed:g}: {shown}. "
            f"Every row is in {address}. Running {stage} again ({run_uri}) asks only for the failed ones."
        )
