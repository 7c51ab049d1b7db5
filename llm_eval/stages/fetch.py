"""fetch: rows of the planned source become samples, the few-shot split beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from llm_eval import layout, sampling, sources, tables
from llm_eval.errors import IncompleteStage, NotThere
from llm_eval.layout import Layout
from llm_eval.records import Sample
from llm_eval.stages import Counts, StageContext


def manifest(context: StageContext) -> str:
    return layout.join(context.layout.samples, "manifest.json")


def run(context: StageContext) -> Counts:
    dataset = context.run.dataset
    rows = sources.read(dataset, context.run.source, context.settings)
    samples = sampling.to_samples(dataset, rows.questions)
    few_shot = sampling.to_samples(dataset, rows.few_shot)
    tables.write(layout.join(context.layout.samples, "few_shot.parquet"), Sample, few_shot)
    tables.write(layout.join(context.layout.samples, "samples.parquet"), Sample, samples)
    return {"samples": len(samples), "subsets": len({s.subset for s in samples}), "few_shot": len(few_shot)}


def read_samples(place: Layout) -> list[Sample]:
    return _read(place, "samples.parquet")


def limited_samples(place: Layout, limit: int | None) -> list[Sample]:
    """The samples that a run asks about."""
    return limited(read_samples(place), limit)


def limited(samples: Sequence[Sample], limit: int | None) -> list[Sample]:
    """At most `limit` samples, drawn by a hash of their ids, in the order they came.

    A larger limit includes a smaller one's samples, and every subset has its fair chance: the first fifty rows of a
    benchmark would all be of one subject.
    """
    if limit is None or limit >= len(samples):
        return list(samples)
    by_hash = sorted(range(len(samples)), key=lambda i: hashlib.sha256(samples[i].id.encode()).digest())
    return [samples[i] for i in sorted(by_hash[:limit])]


def read_few_shot(place: Layout) -> list[Sample]:
    return _read(place, "few_shot.parquet")


def _read(place: Layout, name: str) -> list[Sample]:
    address = layout.join(place.samples, name)
    try:
        return tables.read(address, Sample)
    except NotThere as error:
        raise IncompleteStage(f"{address} is not there: run `llm-eval fetch {place.run_uri}` first") from error
