"""The key of a served model comes out of an Airflow connection, for the task that needs it and nobody else."""

import json
import os
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException

from llm_eval.airflow.service_keys import connection_of
from llm_eval.remote.ids import Pair
from llm_eval.specs import ModelSpec
from tests.airflow.test_airflow_operators import plan, run
from tests.backends.api_server import refused, said, serving, wrote

KEY = "sk-from-the-connection"
VARIABLES = ("LLM_EVAL_CONNECTION_OUR_SERVICE_KEY", "LLM_EVAL_CONNECTION_OUR_SERVICE_URL")


def model(**backend):
    values = {"kind": "openai", "model": "m", "connection": "our-service", **backend}
    return {"backend": values, "chat": True}


def spec(**backend):
    return ModelSpec.model_validate({"name": "served", **model(**backend)})


def connect(monkeypatch, **values):
    monkeypatch.setenv("AIRFLOW_CONN_OUR-SERVICE", json.dumps({"conn_type": "http", "password": KEY, **values}))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ({}, None),
        ({"host": "http://gpu-1:8000/v1/"}, "http://gpu-1:8000/v1"),
        ({"host": "gpu-1"}, "https://gpu-1/v1"),
        ({"host": "gpu-1", "port": 8000, "schema": "http"}, "http://gpu-1:8000/v1"),
    ],
)
def test_a_connection_is_a_key_and_an_address_while_it_is_needed(monkeypatch, host, address):
    connect(monkeypatch, **host)

    with connection_of(spec()):
        there = [os.environ.get(name) for name in VARIABLES]

    assert there == [KEY, address]
    assert not set(VARIABLES) & set(os.environ)


def test_what_stood_in_the_environment_stands_there_again(monkeypatch):
    connect(monkeypatch)
    monkeypatch.setenv(VARIABLES[0], "another")

    with pytest.raises(RuntimeError), connection_of(spec()):
        raise RuntimeError(os.environ[VARIABLES[0]])

    assert os.environ[VARIABLES[0]] == "another"


def test_a_model_without_a_connection_asks_airflow_for_none():
    with connection_of(spec(connection=None)):
        assert not set(VARIABLES) & set(os.environ)


def test_a_whole_run_is_asked_with_the_key_and_leaves_it_nowhere(place, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    with serving(lambda b, n: said("A") if n % 3 else refused(500, f"broken, and quoting {KEY}")) as server:
        connect(monkeypatch, host=server.url)
        place.write("models", "served", model())
        _, run_uri = plan(Pair("served", "tiny"))
        for stage in ("fetch", "render", "infer", "score", "publish"):
            run(stage, run_uri)

    assert set(server.keys) == {KEY}
    assert not set(VARIABLES) & set(os.environ)
    left = [path for path in Path(place.root).rglob("*") if path.is_file()]
    assert len(left) > 5
    assert [path for path in left if KEY.encode() in path.read_bytes()] == []
    assert KEY not in caplog.text


def test_a_connection_that_does_not_exist_is_missed_by_infer_and_not_by_plan(place):
    place.write("models", "served", model())
    _, run_uri = plan(Pair("served", "tiny"))
    for stage in ("fetch", "render"):
        run(stage, run_uri)

    with pytest.raises(AirflowFailException, match=r"the Airflow connection 'our-service', named in backend\.conn"):
        run("infer", run_uri)


def test_plan_asks_with_the_key_where_it_has_to_know_about_log_probabilities(place, monkeypatch):
    place.write("models", "served", {**model(), "chat": False})
    with serving(lambda body, number: wrote("no echo")) as server:
        connect(monkeypatch, host=server.url)
        scored = {**place.tiny, "prompt": {"kind": "perplexity", "template": "{{ input }}"}, "extract": []}
        place.write("datasets", "scored", {**scored, "metrics": ["bits_per_byte"]})
        with pytest.raises(AirflowFailException, match="does not say how likely a given text is"):
            plan(Pair("served", "scored"))

    assert server.keys == [KEY]
