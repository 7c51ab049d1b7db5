"""A batch is waited for without a worker's slot: infer gives it back, and comes again."""

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from llm_eval.airflow.operators import StageOperator
from llm_eval.remote.ids import Pair
from llm_eval.stages import run_stage
from tests.airflow.test_airflow_operators import Context, plan, run
from tests.backends.api_server import said
from tests.backends.batch_api import serving_batches


def served(server):
    backend = {"kind": "openai", "model": "m", "base_urls": [server.url], "mode": "batch", "poll_seconds": 120}
    return {"backend": backend, "chat": True}


def planned(place, server):
    place.write("models", "served", served(server))
    _, run_uri = plan(Pair("served", "tiny"))
    for stage in ("fetch", "render"):
        run(stage, run_uri)
    return run_uri


def infer(run_uri):
    return StageOperator(task_id="infer", stage="infer", run_uri=run_uri)


def test_infer_defers_until_the_answers_are_there(place):
    with serving_batches(lambda body: said("A")) as server:
        run_uri = planned(place, server)
        with pytest.raises(TaskDeferred) as first:
            infer(run_uri).execute(Context())
        with pytest.raises(TaskDeferred):
            infer(run_uri).resume_execution("resume", {"event": None}, Context())
        server.finish()
        infer(run_uri).resume_execution("resume", {"event": None}, Context())
        report = run_stage("infer", run_uri, place.settings)

    path, values = first.value.trigger.serialize()
    assert path == "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
    assert "moment" in values
    assert first.value.method_name == "resume"
    assert (report.skipped, report.counts["requests"], report.counts["failed"]) == (True, 12, 0)
    assert len(server.batches) == 1


def test_what_a_batch_cannot_be_had_for_fails_without_a_retry(place):
    with serving_batches(lambda body: said("A")) as server:
        run_uri = planned(place, server)
        server.status = "failed"
        server.finish()
        with pytest.raises(AirflowFailException, match="refuses batch batch-0: the file is no good"):
            infer(run_uri).execute(Context())
