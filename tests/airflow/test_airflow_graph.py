from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowException
from airflow.serialization.serialized_objects import DagSerialization

from llm_eval.airflow.failures import in_airflow_words
from llm_eval.airflow.graph import Evaluation, Judge, build_evaluation_dag, build_leaderboard_dag, schedule_of
from llm_eval.errors import BackendLost, StorageError, TooManyFailures
from llm_eval.specs import ModelSpec, RunParams, SuiteSpec

STAGES = ["plan", "fetch", "validate", "render", "infer", "score", "publish"]


def model(kind="scripted", **values):
    path = {"path": "some/folder"} if kind == "transformers" else {}
    return ModelSpec.model_validate({"name": "m", "backend": {"kind": kind, **path}, "chat": False, **values})


def suite(name="nightly", schedule=None):
    return SuiteSpec(name=name, schedule=schedule, models=("m",), datasets=("d",))


def dag_of(model, *suites):
    return build_evaluation_dag(Evaluation(model, "d", suites, "/root"))


def evaluation(*suites, **values):
    return Evaluation(model(**values), "d", suites, "/root")


def test_the_stages_follow_one_another():
    dag = dag_of(model())

    assert [task.task_id for task in dag.topological_sort()] == STAGES
    assert [len(dag.get_task(stage).upstream_task_ids) > 0 for stage in STAGES] == [False] + [True] * 6


def test_no_model_is_asked_before_the_samples_are_valid_and_rendered():
    assert dag_of(model()).get_task("infer").upstream_task_ids >= {"validate", "render"}


def test_the_ui_names_each_task_by_its_stage():
    assert [dag_of(model()).get_task(stage).operator_name for stage in STAGES] == [s.title() for s in STAGES]


def test_infer_is_mapped_over_shards():
    infer = dag_of(model()).get_task("infer")

    assert infer.is_mapped
    assert list(infer.iter_mapped_dependencies()) == [dag_of(model()).get_task("plan")]


@pytest.mark.parametrize(
    ("answers", "pool"),
    [
        (model("transformers", resources={"gpus": 1}), "gpu"),
        (model("transformers"), "cpu"),
        (ModelSpec.model_validate({"name": "m", "backend": {"kind": "openai", "model": "m"}, "chat": True}), "api"),
        (model("scripted", resources={"gpus": 1}), "default_pool"),
        (model("transformers", run_on="kubernetes", resources={"image": "i"}), "gpu"),
    ],
)
def test_models_wait_in_the_pool_of_what_they_need(answers, pool):
    dag = dag_of(answers)

    assert dag.get_task("infer").pool == pool
    assert dag.get_task("score").pool == "default_pool"


@pytest.mark.parametrize(("kind", "own_process"), [("transformers", True), ("scripted", False)])
def test_only_what_loads_weights_gets_a_process_of_its_own(kind, own_process):
    infer = dag_of(model(kind)).get_task("infer")

    assert infer.partial_kwargs["own_process"] is own_process


def test_a_model_on_kubernetes_runs_only_infer_in_a_pod():
    dag = dag_of(model("transformers", run_on="kubernetes", resources={"image": "i"}))

    assert dag.get_task("infer").operator_class.__name__ == "StagePodOperator"
    assert type(dag.get_task("score")).__name__ == "StageOperator"


def test_every_task_is_tried_again_with_growing_pauses():
    tasks = dag_of(model()).tasks

    assert {(t.retries, t.retry_delay, t.retry_exponential_backoff) for t in tasks} == {(6, timedelta(seconds=5), 2.0)}


@pytest.mark.parametrize(
    ("error", "try_number", "action"),
    [
        (StorageError("the root is away"), 6, RetryAction.DEFAULT),
        (BackendLost("the server is away"), 3, RetryAction.DEFAULT),
        (TooManyFailures("half of them"), 2, RetryAction.DEFAULT),
        (TooManyFailures("half of them"), 3, RetryAction.FAIL),
    ],
)
def test_only_what_passes_with_time_is_tried_more_than_three_times(error, try_number, action):
    with pytest.raises(AirflowException) as failure, in_airflow_words():
        raise error

    policy = dag_of(model()).get_task("score").retry_policy

    assert policy.evaluate(failure.value, try_number, 6).action == action


@pytest.mark.parametrize(
    ("run_id", "infer"), [("scheduled__a", 4), ("backfill__a", 4), ("manual__a", 104), ("now__a", 104)]
)
def test_runs_by_hand_go_first_and_of_equal_ones_the_later_task(run_id, infer):
    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag_of(model())))

    def weight(task_id):
        task = stored.get_task(task_id)
        return task.weight_rule.get_weight(SimpleNamespace(task=task, run_id=run_id))

    assert [weight(task) - infer for task in ("plan", "fetch", "infer", "score", "publish")] == [-4, -3, 0, 1, 2]


def test_a_dag_that_several_suites_ask_for_carries_all_their_names():
    assert {"suite:a", "suite:b", "model:m", "dataset:d"} <= dag_of(model(), suite("a"), suite("b")).tags


def test_it_runs_whenever_any_of_its_suites_asks_but_once_for_the_same_time():
    schedule = schedule_of(
        evaluation(suite("a", "0 2 * * *"), suite("b"), suite("c", "0 2 * * *"), suite("d", "@weekly"))
    )

    assert schedule.serialize()["expressions"] == ["0 2 * * *", "0 0 * * 0"]


def test_without_a_schedule_it_runs_only_by_hand():
    assert dag_of(model(), suite()).schedule is None


@pytest.mark.parametrize(
    "dag",
    [
        dag_of(model(), suite(schedule="0 2 * * *")),
        dag_of(model("transformers", run_on="kubernetes", resources={"image": "i", "gpus": 2}), suite()),
        build_leaderboard_dag(suite()),
    ],
    ids=["scripted", "kubernetes", "leaderboard"],
)
def test_a_dag_survives_storing_in_airflows_database(dag):
    stored = DagSerialization.serialize_dag(dag)

    restored = DagSerialization.deserialize_dag(stored)

    assert restored.task_ids == dag.task_ids
    assert [t.operator_name for t in restored.tasks] == [t.operator_name for t in dag.tasks]


def test_parameters_are_stored_once_for_the_dag_and_checked_there():
    stored = DagSerialization.serialize_dag(dag_of(model()))
    restored = DagSerialization.deserialize_dag(stored)

    assert [name for name, _ in stored["params"]] == list(RunParams.model_fields)
    assert [task.task_id for task in restored.tasks if task.params] == []
    assert restored.params.validate()["limit"] is None
    with pytest.raises(ValueError, match="less than the minimum of 1"):
        restored.params.deep_merge({"limit": 0}).validate()


def test_a_schedule_is_made_once_however_many_dags_are_stored_with_it():
    stored = [DagSerialization.serialize_dag(dag_of(model(), suite(schedule="0 2 * * *"))) for _ in range(2)]

    first, second = (DagSerialization.deserialize_dag(dag).timetable for dag in stored)

    assert first is second
    assert first.serialize()["expressions"] == ["0 2 * * *"]


def test_publish_announces_what_the_leaderboard_follows():
    result, nightly = dag_of(model(), suite()).get_task("publish").outlets

    assert (result.name, result.uri) == ("result__m__d", "x-llm-eval://results/m/d")
    assert build_leaderboard_dag(suite()).timetable.asset_condition.objects == (nightly,)


def test_what_needs_a_gpu_waits_for_celerys_worker_that_has_one():
    tasks = dag_of(model("transformers", resources={"gpus": 1})).tasks

    assert {task.task_id for task in tasks if getattr(task, "queue", None) == "gpu"} == {"infer"}


def judged_dag(**backends):
    """A DAG whose dataset is judged by models of these backends."""
    judges = tuple(Judge(name, model(**values)) for name, values in backends.items())
    return build_evaluation_dag(Evaluation(model(), "d", (), "/root", judges))


def test_every_judge_has_a_task_between_score_and_verdict():
    dag = judged_dag(strict={}, mild={})

    judges = {"judge__strict", "judge__mild"}
    assert dag.get_task("score").downstream_task_ids == judges
    assert dag.get_task("verdict").upstream_task_ids == {*judges, "plan"}  # plan says where the run is
    assert dag.get_task("publish").upstream_task_ids == {"verdict", "plan"}
    assert [dag.get_task(task).operator_name for task in ("judge__mild", "verdict")] == ["Judge", "Verdict"]
    assert dag.get_task("plan").judges == ["strict", "mild"]


@pytest.mark.parametrize(
    ("values", "pool", "operator", "own_process"),
    [
        ({}, "default_pool", "JudgeOperator", False),
        ({"kind": "transformers"}, "cpu", "JudgeOperator", True),
        ({"kind": "transformers", "resources": {"gpus": 1}}, "gpu", "JudgeOperator", True),
        (
            {"kind": "transformers", "run_on": "kubernetes", "resources": {"image": "i"}},
            "gpu",
            "JudgePodOperator",
            None,
        ),
    ],
)
def test_a_judge_s_model_runs_as_its_own_yaml_says(values, pool, operator, own_process):
    judge = judged_dag(strict=values).get_task("judge__strict")

    assert (judge.pool, judge.operator_class.__name__) == (pool, operator)
    assert (judge.partial_kwargs.get("own_process"), judge.partial_kwargs["judge"]) == (own_process, "strict")


def test_a_judge_is_mapped_over_its_own_shards():
    judge = judged_dag(strict={"resources": {"shards": 3}}).get_task("judge__strict")

    assert judge.expand_input.value == {"shard": ["0/3", "1/3", "2/3"]}
