"""Pods that a real scheduler asks for and a real triggerer waits for, and what happens when one of them is killed."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import yaml

from llm_eval.airflow.deployment import Deployment
from llm_eval.airflow.stack import Stack
from llm_eval.manifests import templates
from llm_eval.remote.client import FINISHED
from tests.airflow.faults import QUESTIONS, Slow, finished, gone, infer_process, kill, loss, tries, until
from tests.kubernetes.emulator import Cluster, Node
from tests.kubernetes.inference import NAMESPACE, SITE, public_folder

pytestmark = [pytest.mark.airflow, pytest.mark.kubernetes, pytest.mark.timeout(900)]

PODS = ("evicted", "marked", "followed", "worker", "sharded")
SETTINGS = {
    "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "16",
    "LLM_EVAL_POD_LOG_SECONDS": "600",  # who fetches a log is not deferred, and would be killed with the scheduler
}
GPUS = 2
# Those that are disturbed would be at work for much longer than it takes to do so.
SLOWLY = {"evicted": 1.5, "marked": 3.0, "followed": 1.5}
PACES = {name: {"seconds_per_reply": pace} for name, pace in {"calm": 0.0, "sharded": 0.1, **SLOWLY}.items()}


class Airflow:
    """A stack whose pods run in a cluster of its own. deferrable: the triggerer waits for them."""

    def __init__(self, folder: Path, place, cluster: Cluster, deferrable: bool) -> None:
        self.place, self.cluster = place, cluster
        self.models = {name: Slow(name, place.root, folder / f"{name}.journal") for name in ("calm", *PODS)}
        told = {**SETTINGS, "KUBECONFIG": str(cluster.kubeconfig_of("llm-eval-launcher"))}
        told |= {"LLM_EVAL_POD_DEFERRABLE": str(deferrable).lower()}
        told |= {"LLM_EVAL_POD_TEMPLATE": str(folder / "pod_template.yaml")}
        home = folder / f"airflow-{deferrable}"
        self.stack = Stack(home, triggerer=deferrable, deployment=Deployment(settings=told))

    @property
    def client(self):
        return self.stack.client

    def trigger(self, name: str):
        self.client.set_paused(self.models[name].dag_id, False)
        return self.client.trigger(self.models[name].dag_id)

    def pods(self, name: str, phases: tuple[str, ...] = ("Pending", "Running", "Succeeded", "Failed")) -> list[str]:
        """Names of the model's pods that are there."""
        label = f"eval__{name}__forty"
        mine = [p for p in self.cluster.pods() if p["metadata"]["labels"]["dag_id"] == label]
        return [p["metadata"]["name"] for p in mine if p["status"]["phase"] in phases]

    def wanting_gpus(self, name: str) -> list[str]:
        """One that has ended lies there until its task has read why, and holds no GPU."""
        return self.pods(name, ("Pending", "Running"))

    def gpus(self, slots: int) -> None:
        """The size of the pool."""
        pool = {"name": "gpu", "slots": slots, "include_deferred": True}
        self.client.call("PATCH", "/api/v2/pools/gpu", pool)

    def last_words(self, run, number: int) -> str:
        """Of a try of infer."""
        task = next(t for t in self.client.tasks(run) if t.task_id == "infer")
        return self.client.last_words(replace(task, try_number=number))


@pytest.fixture(scope="module")
def platform(small_catalog) -> Iterator[tuple]:
    """A catalog of models that are asked in pods, and a cluster with two GPUs, under the role that we ship."""
    with (
        public_folder() as folder,
        Cluster(folder, **{**SITE, "nodes": [Node("cpu-1"), Node("gpu-1", gpus=GPUS)]}) as cluster,
    ):
        place = small_catalog(folder)
        tiny = (place.catalog / "datasets" / "tiny.yaml").read_text()
        place.write("datasets", "forty", tiny.replace("tiny", "forty"))
        rows = [json.dumps({"question": f"Question {i}?", "answer": "ABC"[i % 3]}) for i in range(QUESTIONS)]
        (folder / "data" / "forty.jsonl").write_text("\n".join(rows))
        place.write("suites", "small", {"models": ["calm", *PODS], "datasets": ["forty"]})
        for name in ("calm", *PODS):
            slow = Slow(name, place.root, folder / f"{name}.journal")
            spec = slow.spec(**PACES.get(name, {}))
            resources = {"image": "registry/llm-eval:1", **({"gpus": 1, "shards": 4} if name == "sharded" else {})}
            place.write(
                "models", name, spec if name == "calm" else {**spec, "run_on": "kubernetes", "resources": resources}
            )
        (folder / "pod_template.yaml").write_text(yaml.safe_dump(template(folder)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("llm_eval.airflow.stack.LIFE_SECONDS", 0.0)
            patch.setenv("LLM_EVAL_CATALOG", str(place.catalog))
            patch.setenv("LLM_EVAL_ROOT", str(place.root))
            yield folder, place, cluster


def template(folder: Path) -> dict:
    """What we ship, the folder where it is on this machine, and whoever runs Airflow here as the user of it."""
    pod = dict(templates.read(templates.SHIPPED))
    pod["spec"]["securityContext"] |= {"runAsUser": os.getuid(), "runAsNonRoot": os.getuid() != 0}
    pod["spec"]["volumes"].append({"name": "evals", "hostPath": {"path": str(folder)}})
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "evals", "mountPath": str(folder)})
    return pod


@pytest.fixture(scope="module")
def deferring(platform) -> Iterator[Airflow]:
    airflow = Airflow(*platform, deferrable=True)
    with airflow.stack:
        airflow.gpus(8)
        yield airflow


@pytest.fixture(scope="module")
def disturbed(deferring) -> SimpleNamespace:
    """Runs that are disturbed side by side: their ends, and what the one whose pod was taken away had lost."""
    airflow, names = deferring, ("calm", "evicted", "marked", "followed")
    runs = {name: airflow.trigger(name) for name in names}
    airflow.models["evicted"].wait_for_a_part()
    (evicted,) = airflow.pods("evicted")
    airflow.cluster.evict(evicted, namespace=NAMESPACE)
    lost = loss(airflow.models["evicted"])
    for name in ("marked", "followed"):
        airflow.models[name].wait_for_a_part()
    (marked,) = airflow.pods("marked")
    airflow.client.call("PATCH", infer_address(runs["marked"]), {"new_state": "failed"})
    until(lambda: marked not in airflow.pods("marked"), "no pod of the task that was marked as failed", 60)
    # A task that is not deferred would end with the scheduler.
    until(lambda: is_deferred(airflow, runs["evicted"], 2) and is_deferred(airflow, runs["followed"], 1), "both wait")
    kill(airflow.stack, "triggerer", "scheduler")
    revived = {*until(airflow.stack.revive, "somebody to start again")}
    until(lambda: revived.update(airflow.stack.revive()) or revived == {"triggerer", "scheduler"}, "both again")
    return SimpleNamespace(
        runs=runs, lost=lost, ended={name: finished(airflow.client, run) for name, run in runs.items()}
    )


def test_a_pod_that_is_evicted_costs_a_try_and_no_number(deferring, disturbed):
    assert disturbed.ended["evicted"] == "success"
    assert tries(deferring.client, disturbed.runs["evicted"]) == {"infer": 2}
    assert disturbed.lost.was_all_that_was_asked_twice()
    assert deferring.models["evicted"].rows() == deferring.models["calm"].rows()
    assert "Evicted: " in deferring.last_words(disturbed.runs["evicted"], 1)


def test_a_task_that_somebody_marks_as_failed_takes_its_pod_along(deferring, disturbed):
    assert disturbed.ended["marked"] == "failed"
    assert deferring.pods("marked") == []
    assert len(deferring.models["marked"].asked()) < QUESTIONS


def test_a_pod_goes_on_while_scheduler_and_triggerer_are_killed_and_is_followed_again(deferring, disturbed):
    assert disturbed.ended["followed"] == "success"
    assert tries(deferring.client, disturbed.runs["followed"]) == {}
    assert len(deferring.models["followed"].asked()) == QUESTIONS
    assert deferring.models["followed"].rows() == deferring.models["calm"].rows()


def test_the_pool_bounds_the_gpus_that_the_shards_of_a_model_take_at_once(deferring, disturbed):
    deferring.gpus(GPUS)
    run, at_once = deferring.trigger("sharded"), set()

    def have_ended() -> bool:
        at_once.add(len(deferring.wanting_gpus("sharded")))
        return run_has_ended(deferring, run)

    until(have_ended, "the end of the shards")
    assert finished(deferring.client, run) == "success"
    assert max(at_once) == GPUS
    assert len(deferring.models["sharded"].asked()) == QUESTIONS
    assert deferring.models["sharded"].rows() == deferring.models["calm"].rows()
    assert deferring.cluster.leaks() == []


def test_a_pod_whose_worker_is_killed_goes_on_and_is_found_by_the_next_try(platform, deferring, disturbed):
    deferring.stack.stop()
    airflow = Airflow(*platform, deferrable=False)
    with airflow.stack:
        run = airflow.trigger("worker")
        airflow.models["worker"].wait_for_a_part()
        (pod,) = airflow.pods("worker")
        task = infer_process(airflow.client, run)
        supervisor = task.parent()
        for process in (supervisor, task):
            process.kill()
        gone(supervisor, task)
        assert airflow.pods("worker") == [pod]

        assert finished(airflow.client, run) == "success"
        assert tries(airflow.client, run) == {"infer": 2}
        assert len(airflow.models["worker"].asked()) == QUESTIONS
        assert airflow.models["worker"].rows() == airflow.models["calm"].rows()
        assert airflow.cluster.leaks() == []


def infer_address(run) -> str:
    return f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/infer/0"


def is_deferred(airflow: Airflow, run, number: int) -> bool:
    """Whether this try of infer waits in the triggerer."""
    task = airflow.client.call("GET", infer_address(run))
    return (task["state"], task["try_number"]) == ("deferred", number)


def run_has_ended(airflow: Airflow, run) -> bool:
    return next(r.state for r in airflow.client.runs([run.dag_id]) if r.run_id == run.run_id) in FINISHED
