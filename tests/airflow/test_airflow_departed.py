"""Pairs that have left the catalog; with a real DAG processor to ask, see test_airflow_faults.py."""

import pytest
from airflow.sdk.execution_time import task_runner

from llm_eval.airflow import departed
from llm_eval.airflow.factory import evaluation_dags
from llm_eval.remote.ids import Pair
from tests.airflow.test_airflow_operators import plan

PAIR, DAG_ID = Pair("canned", "tiny"), "eval__canned__tiny"


@pytest.fixture
def left(place):
    """A pair whose run was planned before its model left the catalog."""
    place.write("models", "canned", {**place.canned, "description": "As planned."})
    plan(PAIR)
    (place.catalog / "models" / "canned.yaml").unlink()
    place.write("suites", "small", {**place.suite, "models": ["gone"]})
    return place


def test_a_worker_finds_the_dag_of_its_task_as_it_was_planned(left):
    dag = evaluation_dags(only=DAG_ID)[DAG_ID]

    assert (dag.doc_md, dag.schedule, dag.get_task("infer").partial_kwargs["own_process"]) == (
        "As planned.",
        None,
        False,
    )


def test_a_worker_finds_the_dag_of_a_run_that_was_never_planned(left):
    dag_id = "eval__no-such-model__tiny"

    assert evaluation_dags(only=dag_id)[dag_id].get_task("plan").model == "no-such-model"


def test_the_dag_stays_while_tasks_of_it_are_unfinished_and_then_leaves_for_good(left, monkeypatch):
    unfinished = {DAG_ID: 2}
    monkeypatch.setattr(departed, "unfinished", unfinished.get)
    assert DAG_ID in evaluation_dags()

    unfinished[DAG_ID] = 0
    assert DAG_ID not in evaluation_dags()

    unfinished[DAG_ID] = 2
    assert DAG_ID not in evaluation_dags()


def test_where_airflow_cannot_be_asked_only_the_catalog_counts(left):
    assert DAG_ID not in evaluation_dags()
    assert (left.root / "planned" / f"{DAG_ID}.json").exists()


def test_a_pair_that_is_still_asked_for_keeps_its_shape_when_its_model_is_gone(left):
    left.write("suites", "small", left.suite)

    assert evaluation_dags()[DAG_ID].doc_md == "As planned."


def test_a_note_that_cannot_be_read_costs_no_pair_its_dag(left, monkeypatch):
    monkeypatch.setattr(departed, "unfinished", lambda dag_id, task_ids: 1)
    (left.root / "planned" / f"{DAG_ID}.json").write_text("{")

    assert {DAG_ID, "eval__gone__tiny"} <= set(evaluation_dags())


def test_an_airflow_that_does_not_answer_costs_no_pair_its_dag(left, monkeypatch):
    class Broken:
        def send(self, message):
            raise ValueError("cannot decode")

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Broken(), raising=False)

    assert "eval__gone__tiny" in evaluation_dags()
