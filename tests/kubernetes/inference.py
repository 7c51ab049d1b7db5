"""One planned evaluation whose infer stage runs in pods, and the tries of the task that asks for them.

What Airflow does between two tries is done here by hand, so that a scenario takes seconds: the same operator, the same
trigger, the same store that tries share. tests/kubernetes/test_scheduled_pods.py has it done by Airflow itself.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from llm_eval import results, tables
from llm_eval.airflow.pod_settings import PodSettings
from llm_eval.airflow.pods import StagePodOperator
from llm_eval.layout import Layout
from llm_eval.manifests import templates
from llm_eval.records import Response
from llm_eval.stages import run_stage
from llm_eval.stages.plan import Wish, plan
from tests.builders import NOON, House, rows
from tests.conftest import CHECKOUT

QUESTIONS = 30
SECONDS_PER_REPLY = 0.1
IMAGE = "registry/llm-eval:1"
NAMESPACE = "llm-eval"
SITE = {"namespaces": (NAMESPACE,), "access": CHECKOUT / "include" / "kubernetes" / "rbac.yaml"}
"""Of the cluster: the role that we ship is all that the task may do."""
CELLS = ("subset", "aggregation", "metric", "value", "stderr", "ci_low", "ci_high", "samples", "scored", "failed")


class Store(dict):
    """What Airflow keeps for all tries of one task."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Try:
    """One try of the task, at work in a thread of its own as it would be in a process; `end()` waits for it."""

    def __init__(self, operator: StagePodOperator, context: dict[str, Any]) -> None:
        self._operator, self._context = operator, context
        self._trigger: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def end(self, seconds: float = 60.0) -> BaseException | None:
        """None: it succeeded."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the try is still at work after {seconds:g} s"
        return self._error

    def kill(self) -> None:
        """As when somebody marks the task as failed: Airflow tells whoever waits for the pod, task or trigger."""
        if self._trigger is None:
            self._operator.on_kill()
        else:
            _, arguments = self._trigger.serialize()
            asyncio.run(type(self._trigger)(**arguments).on_kill())

    def _work(self) -> None:
        try:
            self._carry_through()
        except BaseException as error:  # noqa: BLE001 - handed over to who waits
            self._error = error

    def _carry_through(self) -> None:
        """`execute`, and what follows when it asks to be deferred: events, as a triggerer hands them on."""
        try:
            self._operator.execute(self._context)
            return
        except TaskDeferred as wish:
            asked = wish
        while True:
            self._trigger = asked.trigger
            event = asyncio.run(_first_event(asked.trigger))
            try:
                getattr(self._operator, asked.method_name)(self._context, event.payload, **(asked.kwargs or {}))
                return
            except TaskDeferred as again:
                asked = again


async def _first_event(trigger: Any) -> Any:
    async for event in trigger.run():
        return event
    raise AssertionError("the trigger ended without a word")


class Inference:
    """A house with one model, which takes its time and notes what it is asked, planned and ready to be asked."""

    def __init__(self, folder: Path, cluster: Any, patch: pytest.MonkeyPatch, deferrable: bool) -> None:
        self.cluster, self.deferrable = cluster, deferrable
        self.house, self.store = House(folder), Store()
        self.journal = folder / "root" / "journal"
        self.kubeconfig = cluster.kubeconfig_of("llm-eval-launcher")
        self._tries = 0
        self.house.jsonl("colours.jsonl", rows(QUESTIONS))
        self.house.model(
            backend={"kind": "scripted", "journal": str(self.journal), "seconds_per_reply": SECONDS_PER_REPLY}
        )
        self.run = plan(self.house.catalog, self.house.settings, Wish("canned", "colours"), NOON)
        self.address = Layout(self.house.settings.root, self.run).run_uri
        for stage in ("fetch", "validate", "render"):
            run_stage(stage, self.address, self.house.settings)
        (folder / "root").chmod(0o777)  # pods write as a user of their own
        patch.setenv("LLM_EVAL_ROOT", self.house.settings.root)
        patch.setenv("LLM_EVAL_POD_TEMPLATE", str(self._template(folder)))
        patch.setenv("LLM_EVAL_POD_LOG_SECONDS", "1")

    def _template(self, folder: Path) -> Path:
        """The one that we ship, and the root, where it is on this machine."""
        pod = templates.read(PodSettings().template)
        root = self.house.settings.root
        pod["spec"]["volumes"].append({"name": "root", "hostPath": {"path": root}})
        pod["spec"]["containers"][0]["volumeMounts"].append({"name": "root", "mountPath": root})
        path = folder / "pod_template.yaml"
        path.write_text(yaml.safe_dump(pod))
        return path

    def start(self, needs: dict[str, Any] | None = None, **keywords: Any) -> Try:
        """The next try."""
        return Try(self._operator(needs, **keywords), self._context())

    def abandon(self) -> None:
        """A try whose worker is lost as soon as it has its pod."""
        operator, context = self._operator(None), self._context()
        operator.pod_template_dict = operator._manifest(context)
        operator.get_or_create_pod(operator.build_pod_request_obj(context), context)

    def _operator(self, needs: dict[str, Any] | None, **keywords: Any) -> StagePodOperator:
        return StagePodOperator(
            task_id="infer",
            stage="infer",
            run_uri=keywords.pop("run_uri", self.address),
            shard="0/1",
            needs={"image": IMAGE, **(needs or {})},
            kubernetes_conn_id=None,
            in_cluster=False,
            config_file=str(self.kubeconfig),
            **{
                "deferrable": self.deferrable,
                "poll_interval": 0.2,
                "startup_check_interval_seconds": 0.1,
                "base_container_status_polling_interval": 0.2,
                **keywords,
            },
        )

    def _context(self) -> dict[str, Any]:
        self._tries += 1
        ti = types.SimpleNamespace(
            dag_id="eval__canned__colours",
            task_id="infer",
            run_id="manual__1",
            map_index=0,
            try_number=self._tries,
            start_date=datetime.now(UTC),
            xcom_push=lambda *_, **__: None,
        )
        return {"ti": ti, "run_id": ti.run_id, "dag": types.SimpleNamespace(), "task_state_store": self.store}

    def succeed(self, tries: int = 4, **keywords: Any) -> None:
        """Try as often as Airflow would; fails with the last try's error."""
        for left in reversed(range(tries)):
            error = self.start(**keywords).end()
            if error is None:
                return
            assert isinstance(error, AirflowException), error
            assert left, error

    def wait_for_answers(self, count: int = 5) -> str:
        """Until so many were asked for; returns the name of the pod at work."""
        self.cluster.until(lambda: len(self.asked()) >= count, f"{count} requests")
        return self.pod_name()

    def pod_name(self) -> str:
        (name,) = [pod["metadata"]["name"] for pod in self.cluster.pods()]
        return str(name)

    def asked(self) -> list[str]:
        return self.journal.read_text().split() if self.journal.exists() else []

    def on_disk(self) -> set[str]:
        parts = sorted(map(str, Path(self.house.settings.root).glob("responses/*/*/part-*.parquet")))
        return {response.request_id for response in tables.read_all(parts, Response)}

    def lost(self) -> set[str]:
        """What was asked and is not on disk, once nobody asks any more."""
        return {*self.asked()} - self.on_disk()

    def asked_twice(self) -> set[str]:
        return {request for request, times in Counter(self.asked()).items() if times > 1}

    def published(self) -> list[tuple[Any, ...]]:
        """The rows of the whole run, once the stages after infer have run here."""
        for stage in ("score", "publish"):
            run_stage(stage, self.address, self.house.settings)
        return sorted(tuple(asdict(row)[cell] for cell in CELLS) for row in results.summary(self.house.settings.root))


@contextmanager
def public_folder() -> Iterator[Path]:
    """One that every user may pass through, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="llm-eval-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def undisturbed() -> list[tuple[Any, ...]]:
    """The rows of the same evaluation without any pod."""
    with public_folder() as folder:
        calm = House(folder)
        calm.jsonl("colours.jsonl", rows(QUESTIONS))
        run = plan(calm.catalog, calm.settings, Wish("canned", "colours"), NOON)
        for stage in ("fetch", "validate", "render", "infer", "score", "publish"):
            run_stage(stage, Layout(calm.settings.root, run).run_uri, calm.settings)
        return sorted(tuple(asdict(row)[cell] for cell in CELLS) for row in results.summary(calm.settings.root))
