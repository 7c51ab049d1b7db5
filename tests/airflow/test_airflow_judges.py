"""Judged benchmarks through a real Airflow: the demo's model answers, a scripted and a served model judge."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest
from rich.console import Console

from llm_eval import results
from llm_eval.airflow.stack import Stack
from llm_eval.demo.train import train
from llm_eval.remote.watch import wait_for
from llm_eval.results import judgements
from tests.backends.api_server import said, serving
from tests.backends.batch_api import serving_batches
from tests.builders import TINY_DEMO

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]
CONSOLE = Console(stderr=True)
SECONDS = 400
# The untrained demo model's likeliest token is often its last: drawn at random, its answers are never empty.
LOUD = {"dataset.generation.temperature": 2.0, "dataset.generation.temperatures": {}}
SHORT = {"limit": 4, "overrides": {"dataset.generation.max_tokens": 16, **LOUD}}
RATED = "{'事实正确性': 9, '满足用户需求': 6, '清晰度': 7, '完备性': 5, '逻辑连贯性': 5, '创造性': 5, '丰富度': 5, "
RATED += "'公平与可负责程度': 4, '综合得分': 7}"
DATASETS = ("alignbench", "alpaca-eval", "mt-bench", "arena-hard")
HEADLINES = {
    "alignbench": ("rating", "groups"),
    "alpaca-eval": ("length_controlled_win_rate", "micro"),
    "mt-bench": ("rating", "micro"),
    "arena-hard": ("bradley_terry", "samples"),
}


def judge_replies(body, number):
    """Rates, or names the second of two answers, whatever it is: what a judge does that favours a place."""
    if body.get("logprobs"):
        reply = said("M")
        likely = [{"token": "M", "logprob": -0.1, "bytes": None}, {"token": "m", "logprob": -2.4, "bytes": None}]
        reply.body["choices"][0]["logprobs"] = {"content": [{**likely[0], "top_logprobs": likely}]}
        return reply
    asked = "\n".join(message["content"] for message in body["messages"])
    if "综合得分" in asked:
        return said(f"解释。\n{RATED}")
    return said("My final verdict: [[B>A]]" if "[[A>>B]]" in asked else "Rating: [[3]]")


@pytest.fixture(scope="module")
def server():
    with serving(judge_replies) as server:
        yield server


@pytest.fixture(scope="module")
def batches():
    with serving_batches(lambda body: judge_replies(body, 0)) as api:
        yield api


@pytest.fixture(scope="module")
def running(tmp_path_factory, small_catalog, server, batches, benchmark_files):
    """An Airflow with the four benchmarks, its judges a server of this test instead of OpenAI's."""
    folder = tmp_path_factory.mktemp("judges")
    train(TINY_DEMO, folder / "models" / "demo", threads=1, progress=lambda step, loss: None)
    config = folder / "models" / "demo" / "step-0001" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 16384}))
    place = small_catalog(folder)
    place.write("models", "pupil", {"backend": {"kind": "transformers", "path": "demo/step-0001"}, "chat": True})
    for name in ("gpt-4", "gpt-4-turbo"):
        backend = {"kind": "openai", "model": name, "base_urls": [server.url], "keys": ["JUDGE_KEY"]}
        place.write("models", name, {"backend": backend, "chat": True, "resources": {"shards": 2}})
    scripted = {"kind": "scripted", "replies": [f"[[A>B]] Rating: [[8]] {RATED}", f"[[B>>A]] Rating: [[4]] {RATED}"]}
    place.write("models", "scripted-judge", {"backend": scripted, "chat": True})
    batched = {"kind": "openai", "model": "m", "base_urls": [batches.url], "mode": "batch", "poll_seconds": 2}
    place.write("models", "batch-judge", {"backend": batched, "chat": True})
    letters = {"kind": "scripted", "replies": ["m", "M"]}
    place.write("models", "scripted-letters", {"backend": letters, "chat": True})
    place.write("suites", "judged", {"models": ["pupil"], "datasets": [*DATASETS, "alpaca-eval_written"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_EVAL_CATALOG", str(place.catalog))
        patch.setenv("LLM_EVAL_DATASETS", str(benchmark_files))
        patch.setenv("LLM_EVAL_ROOT", str(place.root))
        patch.setenv("LLM_EVAL_MODELS", str(folder / "models"))
        patch.setenv("JUDGE_KEY", "sk-of-the-judge-8d1f")
        stack = Stack(folder / "airflow", triggerer=True)
        with stack:
            yield stack, place


def start(stack, datasets, **conf):
    runs = {}
    for dataset in datasets:
        stack.client.set_paused(f"eval__pupil__{dataset}", False)
        runs[dataset] = stack.client.trigger(f"eval__pupil__{dataset}", {**SHORT, **conf})
    return {outcome.label: outcome for outcome in wait_for(stack.client, runs, CONSOLE, SECONDS)}


def headlines(place):
    rows = [row for row in results.summary(str(place.root), models=("pupil",)) if row.headline]
    return {results.reference(row): row for row in sorted(rows, key=lambda row: row.evaluated_at)}


def test_each_benchmark_is_judged_by_a_served_model(running, server):
    stack, place = running

    outcomes = start(stack, DATASETS)

    assert {label: outcome.reason for label, outcome in outcomes.items() if outcome.reason} == {}
    found = headlines(place)
    assert {name: (row.metric, row.aggregation) for name, row in found.items()} == HEADLINES
    assert {name: (row.samples, row.scored) for name, row in found.items()} == dict.fromkeys(DATASETS, (4, 4))
    assert found["alignbench"].value == 7
    assert found["mt-bench"].value == 3
    assert found["arena-hard"].value == 0.5  # the second place, in both orders
    assert {row.judge_input_tokens > 0 for row in found.values()} == {True}
    order = {each.order for each in judgements(str(place.root), found["arena-hard"].run_id, "pupil", "arena-hard")}
    assert order == {"as_is", "swapped"}
    biased = [r for r in results.summary(str(place.root), models=("pupil",)) if r.metric == "position_bias"]
    assert {(row.dataset, row.value) for row in biased if row.subset == "all"} == {
        ("alpaca-eval", 1),
        ("arena-hard", 1),
    }
    assert set(server.keys) == {"sk-of-the-judge-8d1f"}
    left = [path for folder in (place.root, stack.home) for path in folder.rglob("*") if path.is_file()]
    assert len(left) > 50
    assert [path for path in left if b"sk-of-the-judge" in path.read_bytes()] == []


def test_each_benchmark_is_judged_by_a_scripted_model(running, server):
    stack, place = running
    asked = len(server.asked)

    scripted = start(stack, [name for name in DATASETS if name != "alpaca-eval"], **by("scripted-judge"))
    written = start(stack, ["alpaca-eval_written"], **by("scripted-letters"))

    assert [outcome.reason for outcome in (scripted | written).values() if outcome.reason] == []
    assert len(server.asked) == asked
    found = headlines(place)
    judged = ("alignbench", "mt-bench", "arena-hard", "alpaca-eval_written")
    assert {name: (found[name].samples, found[name].scored) for name in judged} == dict.fromkeys(judged, (4, 4))
    assert found["mt-bench"].value in {4 + half / 2 for half in range(9)}


def test_what_a_judge_has_said_is_not_asked_for_again(running, server):
    stack, _ = running
    start(stack, ["mt-bench"])
    asked = len(server.asked)

    again = start(stack, ["mt-bench"])
    more = start(stack, ["mt-bench"], limit=5)

    assert [outcome.reason for outcome in (again | more).values()] == [None]
    assert len(server.asked) - asked == 2  # both turns of one more conversation


def test_a_run_with_other_judges_than_its_dag_fails_in_plan(running):
    stack, _ = running

    (outcome,) = start(stack, ["mt-bench"], overrides={"dataset.judge": "correctness"}).values()

    assert "mt-bench is judged by correctness in this run, and the DAG has tasks for mt-bench" in outcome.reason


def by(model):
    return {"overrides": {**SHORT["overrides"], "judge.model": model}}


def test_a_judge_that_is_asked_in_batches_is_waited_for_without_a_worker_s_slot(running, batches):
    stack, place = running
    states = set()
    conf = {**SHORT, **by("batch-judge")}
    run = stack.client.trigger("eval__pupil__mt-bench", conf)
    tasks = f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances"

    end = time.monotonic() + SECONDS
    while not batches.is_done and time.monotonic() < end:
        found = stack.client.call("GET", tasks)["task_instances"]
        states |= {task["state"] for task in found if task["task_id"] == "judge__mt-bench"}
        if "deferred" in states and batches.looks >= 2:
            batches.finish()
        time.sleep(1)
    (outcome,) = wait_for(stack.client, {"mt-bench": run}, CONSOLE, SECONDS)

    assert outcome.reason is None
    assert "deferred" in states
    assert headlines(place)["mt-bench"].value == 3
    asked = [line["body"]["messages"][-1]["content"] for line in batches.requests()]
    assert (len(asked), len(set(asked))) == (8, 8)  # each turn of four conversations once, in a batch of each shard
