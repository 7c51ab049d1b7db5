"""What answering took, in the report of infer and in the published row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_eval import results, storage
from llm_eval.layout import WHOLE, Layout, Shard
from llm_eval.records import Response, Result
from llm_eval.stages import run_stage
from llm_eval.stages.parts import PartWriter
from llm_eval.stages.plan import Wish, plan
from tests.builders import NOON, House

READ = {"prefill_tokens": 20, "reused_tokens": 60, "prefill_seconds": 0.5}
WROTE = {"input_tokens": 80, "output_tokens": 30, "latency_seconds": 2.0}


@pytest.fixture
def place(house):
    run = plan(house.catalog, house.settings, Wish("canned", "colours"), NOON)
    place = Layout(house.settings.root, run)
    for stage in ("fetch", "validate", "render"):
        run_stage(stage, place.run_uri, house.settings)
    return place


def published(house: House, place: Layout) -> Result:
    for stage in ("score", "publish"):
        run_stage(stage, place.run_uri, house.settings, force=True)
    (row,) = results.summary(house.settings.root)
    return row


def earlier_try(place: Layout, *ids: str) -> None:
    """Parts of a shard that was killed after these answers."""
    with PartWriter(place.responses, WHOLE) as parts:
        for id in ids:
            parts.add(Response(id, text="A", **READ, **WROTE))


def test_earlier_tries_and_all_shards_are_in_the_figures(house, place):
    earlier_try(place, "0", "1", "2")

    reports = [run_stage("infer", place.run_uri, house.settings, shard=Shard(i, 2)).counts for i in range(2)]
    row = published(house, place)

    assert [(r["asked"], r["prefill_tokens"], r["prefix_reuse_fraction"]) for r in reports] == [
        (4, 40, 0.75),
        (5, 20, 0.75),
    ]
    assert row.prefill_tokens == 60
    assert row.prefix_reuse_fraction == 0.75
    assert row.prefill_tokens_per_second == 40.0
    assert row.output_tokens == sum(int(r["output_tokens"]) for r in reports)
    assert row.infer_seconds == 6.0


def test_a_backend_that_does_not_say_leaves_figures_out(house, place):
    counts = run_stage("infer", place.run_uri, house.settings).counts

    row = published(house, place)

    assert set(counts) == {"requests", "asked", "failed", "input_tokens", "output_tokens", "peak_memory_gib"}
    assert (row.prefill_tokens, row.prefix_reuse_fraction, row.prefill_tokens_per_second) == (None, None, None)
    assert (row.decode_tokens_per_second, row.peak_gpu_memory_gib) == (None, None)


def test_memory_is_that_of_the_largest_shard_and_outlives_a_second_try(house, place):
    for index in range(2):
        run_stage("infer", place.run_uri, house.settings, shard=Shard(index, 2))
    (first,) = Path(place.responses).glob("manifest-0of2.json")
    report = json.loads(first.read_text())
    peaks = {"peak_memory_gib": 7.5, "peak_gpu_memory_gib": 70.25}
    storage.write_json(str(first), {**report, "counts": {**report["counts"], **peaks, "failed": 1}})

    run_stage("infer", place.run_uri, house.settings, shard=Shard(0, 2))  # it had left a failure: tried again
    row = published(house, place)

    assert json.loads(first.read_text())["counts"].items() >= peaks.items()
    assert (row.peak_memory_gib, row.peak_gpu_memory_gib) == (7.5, 70.25)


def test_memory_of_a_run_is_what_this_process_has_taken(house, place):
    run_stage("infer", place.run_uri, house.settings)

    row = published(house, place)

    assert row.peak_memory_gib is not None
    assert 0.05 < row.peak_memory_gib < 8


def test_what_answers_cost_and_how_long_they_took_is_in_the_row(house, place):
    served = {"cost_usd": 0.002, "request_seconds": 0.5, "first_token_seconds": 0.1}
    with PartWriter(place.responses, WHOLE) as parts:
        for id in range(12):
            parts.add(Response(str(id), text="A", **served))

    run_stage("infer", place.run_uri, house.settings)
    row = published(house, place)

    assert row.cost_usd == 0.024
    assert (row.latency_p50_seconds, row.latency_p90_seconds, row.latency_p99_seconds) == (0.5, 0.5, 0.5)
    assert row.first_token_p50_seconds == 0.1
