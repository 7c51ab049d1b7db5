import pytest
from airflow.sdk.definitions.param import ParamsDict

from llm_eval.airflow.params import dag_params, run_params
from llm_eval.errors import InvalidSpec
from llm_eval.specs import RunParams


def test_every_run_parameter_is_on_the_form_with_its_default():
    form = ParamsDict(dag_params())
    form.validate()  # a scheduled DAG may not have a parameter without a valid default

    assert form.dump() == RunParams().model_dump()


def test_an_optional_number_keeps_its_limit_on_the_form():
    limit = dag_params()["limit"]

    assert limit.schema["type"] == ["integer", "null"]
    assert limit.schema["minimum"] == 1
    assert limit.description == RunParams.model_fields["limit"].description


def test_conf_and_defaults_become_run_parameters():
    assert run_params({"limit": 5}, {**RunParams().model_dump(), "limit": 5}) == RunParams(limit=5)


def test_an_unknown_key_is_refused_and_the_allowed_ones_are_named():
    with pytest.raises(InvalidSpec, match="unknown key 'limits'") as refused:
        run_params({"limits": 5}, RunParams().model_dump())

    assert all(name in str(refused.value) for name in RunParams.model_fields)


def test_a_wrong_value_is_refused():
    with pytest.raises(InvalidSpec, match="limit"):
        run_params({}, {**RunParams().model_dump(), "limit": 0})
