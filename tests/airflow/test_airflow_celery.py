"""A team's deployment on one machine: PostgreSQL, Redis, and workers of Celery, one of them for what needs a GPU."""

import itertools
import os
from collections.abc import Iterator
from io import StringIO
from urllib.parse import quote

import pytest
from rich.console import Console

from llm_eval import results
from llm_eval.airflow import demo
from llm_eval.airflow.deployment import DEFAULT_QUEUE, GPU_QUEUE, Deployment
from llm_eval.airflow.stack import Stack
from llm_eval.catalog import Catalog
from llm_eval.demo.train import train
from llm_eval.settings import Settings
from tests.airflow.faults import Slow, finished, infer_process, kill, loss, until
from tests.backends.tiny_models import save_llama
from tests.builders import TINY_DEMO
from tests.services import NotInstalled, postgresql, redis

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

MODELS = ("canned", "tiny-llama", "lost")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, small_catalog) -> Iterator[tuple[Stack, object]]:
    folder = tmp_path_factory.mktemp("celery")
    place = small_catalog(folder)
    save_llama(folder / "models" / "tiny-llama", adds_bos=False)
    train(TINY_DEMO, folder / "models" / "demo", threads=1, progress=lambda step, loss: None)
    on_gpu = {"backend": {"kind": "transformers", "path": "tiny-llama", "device": "cpu"}, "resources": {"gpus": 1}}
    place.write("models", "tiny-llama", {**on_gpu, "chat": False})
    tiny = (place.catalog / "datasets" / "tiny.yaml").read_text()
    place.write("datasets", "tiny", f"{tiny}generation: {{max_tokens: 8}}\n")
    place.write("suites", "small", {"models": list(MODELS), "datasets": ["tiny"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm_eval.airflow.stack.LIFE_SECONDS", 0.0)  # a worker is killed soon after its start
        patch.setenv("LLM_EVAL_CATALOG", str(place.catalog))
        patch.setenv("LLM_EVAL_ROOT", str(place.root))
        patch.setenv("LLM_EVAL_MODELS", str(folder / "models"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        place.write("models", "lost", lost_model(place).spec(seconds_per_reply=3.0))
        try:
            with postgresql() as database, redis() as broker:
                workers = {DEFAULT_QUEUE: 2, GPU_QUEUE: 1}
                deployment = Deployment("CeleryExecutor", database, broker, workers)
                with Stack(folder / "airflow", deployment=deployment) as stack:
                    yield stack, place
        except NotInstalled as reason:
            pytest.skip(str(reason))


def lost_model(place) -> Slow:
    return Slow("lost", place.root, place.root.with_name("lost.journal"), dataset="tiny")


def trigger(stack: Stack, model: str):
    stack.client.set_paused(f"eval__{model}__tiny", False)
    return stack.client.trigger(f"eval__{model}__tiny")


def queues(stack: Stack, run) -> dict[str, str]:
    place = f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances"
    return {task["task_id"]: task["queue"] for task in stack.client.call("GET", place)["task_instances"]}


def test_both_workers_evaluate_and_what_needs_a_gpu_waits_for_the_worker_that_has_one(deployed):
    stack, place = deployed
    runs = {model: trigger(stack, model) for model in ("canned", "tiny-llama")}

    assert {model: finished(stack.client, run) for model, run in runs.items()} == dict.fromkeys(runs, "success")
    assert {*queues(stack, runs["canned"]).values()} == {DEFAULT_QUEUE}
    on_gpu = queues(stack, runs["tiny-llama"])
    assert on_gpu.pop("infer") == GPU_QUEUE
    assert {*on_gpu.values()} == {DEFAULT_QUEUE}
    published = {row.model: row.samples for row in results.summary(str(place.root)) if row.headline}
    assert published == {"canned": 12, "tiny-llama": 12}


def test_an_evaluation_survives_the_kill_of_its_worker(deployed):
    stack, place = deployed
    model, run = lost_model(place), trigger(stack, "lost")
    model.wait_for_a_part()
    above = {process.pid for process in infer_process(stack.client, run).parents()}
    worker = next(component for component in stack._components if component.process.pid in above)

    kill(stack, worker.name)
    lost = loss(model)
    until(stack.first_ended, "the worker's end")
    assert stack.revive() == [worker.name]

    assert finished(stack.client, run) == "success"
    assert lost.was_all_that_was_asked_twice()


def test_the_demo_suite_is_backfilled_there_too(deployed):
    stack, place = deployed
    settings = Settings.from_environment(os.environ)
    catalog = Catalog(settings.catalogs)
    found = demo.trained(catalog, settings)

    outcomes = demo.evaluate(stack.client, catalog.suite(demo.SUITE), found, Console(file=StringIO()))

    assert {outcome.label: outcome.reason for outcome in outcomes if outcome.reason} == {}
    names, datasets = [c.name for c in found], catalog.suite(demo.SUITE).datasets
    assert len(outcomes) == len(names) * (len(datasets) + 1)
    headlines = [row for row in results.summary(str(place.root), models=(demo.MODEL,)) if row.headline]
    assert sorted((row.checkpoint, row.dataset) for row in headlines) == sorted(itertools.product(names, datasets))
    reports = place.root / "reports" / demo.SUITE / demo.MODEL
    assert sorted(path.name for path in reports.iterdir()) == sorted(names)
