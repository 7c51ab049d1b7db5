"""When a checkpoint's report stops waiting, and what it says is missing."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import time_machine
from airflow.sdk import PokeReturnValue
from airflow.sdk.exceptions import AirflowFailException

from llm_eval import layout, storage
from llm_eval.airflow.arrivals import AllPublished, DiscoverOperator
from llm_eval.checkpoints import Registry
from tests.reporting.builders import result
from tests.test_results import publish

BEGAN = datetime(2026, 3, 10, 2, tzinfo=UTC)
LATER = BEGAN + timedelta(minutes=5)


class Airflow:
    """Tells how many runs of a DAG are in some state. `failed`: DAGs whose run of the same id has failed."""

    def __init__(self, unfinished=(), failed=()):
        self.unfinished, self.failed = unfinished, failed

    def get_dr_count(self, dag_id, states, run_ids=None):
        return int(dag_id in (self.failed if run_ids else self.unfinished))


def poke(airflow, now=LATER, run_type="backfill", hours=12.0):
    sensor = AllPublished(task_id="wait", model="m", datasets=["one", "two"], hours=hours)
    run = {"run_type": run_type, "start_date": BEGAN, "run_after": BEGAN, "run_id": "r", "conf": {}}
    dag_run = SimpleNamespace(partition_key="step-1", **run)
    with time_machine.travel(now, tick=False):
        return sensor.poke({"dag_run": dag_run, "ti": airflow})


def missing(outcome):
    assert isinstance(outcome, PokeReturnValue), "still waiting"
    assert outcome.is_done
    return outcome.xcom_value


def published(place, dataset, at=LATER, checkpoint="step-1", **fields):
    row = {"model": "m", "dataset": dataset, "checkpoint": checkpoint, "variant": None, "evaluated_at": at.isoformat()}
    publish(str(place.root), result(run_id=f"{dataset}-{at:%H%M}-{checkpoint}", **row, **fields))


def planned(place, dataset, at=LATER, checkpoint="step-1"):
    """A run that was planned and never published."""
    address = layout.join(layout.run_uri(str(place.root), "m", dataset, f"run-{at:%H%M}"), "run.json")
    storage.write_json(address, {"checkpoint": {"name": checkpoint}, "planned_at": at.isoformat()})


def test_all_there_is_nothing_to_wait_for(place):
    published(place, "one")
    published(place, "two")
    assert missing(poke(Airflow())) == {}


@pytest.mark.parametrize("fields", [{"checkpoint": "step-2"}, {"sample_limit": 5}, {"params": {"overrides": {"a": 1}}}])
def test_a_result_of_another_checkpoint_or_of_a_part_is_none(place, fields):
    published(place, "one")
    published(place, "two", **fields)
    assert missing(poke(Airflow())) == {"two": "no result"}


def test_it_waits_while_a_run_is_at_work_and_names_it_late_after_the_deadline(place):
    published(place, "one")
    at_work = Airflow(unfinished=["eval__m__two"])
    assert poke(at_work) is False
    assert missing(poke(at_work, now=BEGAN + timedelta(hours=13))) == {"two": "late"}


def test_it_waits_a_minute_for_the_other_dags_to_be_started(place):
    assert poke(Airflow(), now=BEGAN + timedelta(seconds=30)) is False
    assert missing(poke(Airflow())) == {"one": "no result", "two": "no result"}


def test_a_run_of_the_same_tick_that_failed_is_named(place):
    published(place, "one")
    published(place, "two", at=BEGAN - timedelta(days=1))  # of the night before
    assert missing(poke(Airflow(failed=["eval__m__two"]), run_type="scheduled")) == {"two": "failed"}


def test_a_backfills_run_that_failed_is_named_though_there_is_an_older_result(place):
    published(place, "one")
    published(place, "two", at=BEGAN - timedelta(days=1))
    planned(place, "two")
    assert missing(poke(Airflow())) == {"two": "failed"}


def test_an_older_result_counts_where_nothing_was_evaluated_again(place):
    published(place, "one")
    published(place, "two", at=BEGAN - timedelta(days=1))
    planned(place, "two", at=BEGAN - timedelta(days=1))
    planned(place, "two", checkpoint="step-2")
    assert missing(poke(Airflow())) == {}


def test_discovery_goes_on_after_a_model_that_cannot_be_looked_at(place, tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_EVAL_MODELS", str(tmp_path))
    folders = {"kind": "folders", "settled_seconds": 0}
    for name in ("broken", "trained"):
        backend = {"kind": "transformers", "path": "base"}
        place.write("models", name, {"backend": backend, "chat": False, "checkpoints": {**folders, "path": name}})
    from tests.checkpoints.conftest import WEIGHTS

    folder = tmp_path / "trained" / "step-1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(WEIGHTS)

    with pytest.raises(AirflowFailException, match="model 'broken': its folder of checkpoints does not exist"):
        DiscoverOperator(task_id="discover", models=["broken", "trained"]).execute({})

    assert [c.name for c in Registry.of(str(place.root), "trained").entries()] == ["step-1"]
