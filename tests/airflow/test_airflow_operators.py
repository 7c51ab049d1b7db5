import logging
from collections import defaultdict
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from llm_eval.airflow.failures import in_airflow_words, tell_reason
from llm_eval.airflow.operators import PlanOperator, ReportOperator, StageOperator
from llm_eval.checkpoints import Registry
from llm_eval.errors import BackendLost, BudgetSpent, MissingWeights, UntrustedJudge
from llm_eval.remote.ids import Pair
from llm_eval.specs import Checkpoint, RunParams
from llm_eval.stages import STAGES, load_run

CANNED = Pair("canned", "tiny")


class Context(dict):
    """As much of Airflow's context as the operators look at; remembers what they leave."""

    def __init__(self, partition_key=None, **conf):
        self.xcoms = {}
        run = {"run_id": "manual__2026-01-01T00:00:00+00:00", "conf": conf, "partition_key": partition_key}
        super().__init__(
            params={**RunParams().model_dump(), **conf},
            dag_run=SimpleNamespace(**run),
            logical_date=datetime(2026, 1, 1, tzinfo=UTC),
            ti=SimpleNamespace(xcom_push=lambda key, value: self.xcoms.update({key: value})),
            outlet_events=defaultdict(SimpleNamespace),
        )


def plan(pair=CANNED, **conf):
    context = Context(**conf)
    shards = PlanOperator(task_id="plan", pair=pair, suite="small").execute(context)
    return shards, context.xcoms["run_uri"]


def run(stage, run_uri, shard="0/1", context=None, **options):
    StageOperator(task_id=stage, stage=stage, run_uri=run_uri, shard=shard, **options).execute(context or Context())


def test_plan_leaves_the_runs_address_and_its_shards(place):
    shards, run_uri = plan(limit=3)

    assert shards == ["0/2", "1/2"]
    planned = load_run(run_uri)
    assert run_uri == f"{place.root}/runs/canned/tiny/{planned.run_id}"
    assert (planned.suite, planned.params.limit) == ("small", 3)
    assert planned.logical_date == "2026-01-01T00:00:00+00:00"


def test_a_plan_that_is_tried_again_plans_the_same_run(place):
    assert plan() == plan()


def test_a_run_without_a_logical_date_can_be_planned(place):
    context = Context()
    del context["logical_date"]

    PlanOperator(task_id="plan", pair=CANNED, suite=None).execute(context)

    assert load_run(context.xcoms["run_uri"]).logical_date is None


def test_a_run_for_a_checkpoint_is_about_that_one(place):
    place.write("models", "canned", {**place.canned, "checkpoints": {"kind": "registry"}})
    for day in (1, 2):
        checkpoint = Checkpoint(name=f"step-{day}", path="/weights", created_at=f"2026-01-0{day}T00:00:00+00:00")
        Registry.of(str(place.root), "canned").add(checkpoint, may_move=False)

    def planned(**conf):
        return load_run(plan(**conf)[1]).checkpoint.name

    assert (planned(partition_key="step-1"), planned(checkpoint="step-1"), planned()) == ("step-1", "step-1", "step-2")
    with pytest.raises(AirflowFailException, match="'step-1' and its parameter `checkpoint` is 'step-2'"):
        plan(partition_key="step-1", checkpoint="step-2")


def test_an_unknown_key_of_the_configuration_fails_the_run_at_once(place):
    with pytest.raises(AirflowFailException, match=r"'limits'.*Allowed: checkpoint, limit"):
        plan(limits=3)


def test_a_model_without_weights_fails_the_run_at_once_with_the_places_looked_at(place):
    with pytest.raises(AirflowFailException, match="no/such-folder"):
        plan(Pair("gone", "tiny"))


@pytest.mark.slow
def test_the_stages_publish_a_result_and_announce_it(place):
    shards, run_uri = plan()
    context = Context()

    for stage in STAGES:
        for shard in shards if stage == "infer" else ["0/1"]:
            options = {"outlets": [Asset("result"), Asset("suite")]} if stage == "publish" else {}
            run(stage, run_uri, shard, context, **options)

    extra = context["outlet_events"][Asset("result")].extra
    assert context["outlet_events"] == {Asset(name): SimpleNamespace(extra=extra) for name in ("result", "suite")}
    assert (extra["samples"], extra["failed"], extra["run_uri"]) == (12, 0, run_uri)
    assert 0 <= extra["value"] <= 1


def test_a_stage_in_a_process_of_its_own_gives_its_exit_code_and_reason(place):
    _, run_uri = plan()

    with pytest.raises(AirflowFailException, match="no-such-stage"):
        run("no-such-stage", run_uri, own_process=True)


@pytest.mark.parametrize("own_process", [False, True])
def test_a_planned_run_that_is_not_to_be_seen_is_tried_again(place, own_process):
    with pytest.raises(AirflowException, match="Is the root there") as failure:
        run("infer", f"{place.root}/runs/canned/tiny/planned", own_process=own_process)

    assert not isinstance(failure.value, AirflowFailException)


@pytest.mark.slow
def test_a_lost_backend_is_tried_again_and_loses_no_answer(place, tmp_path):
    journal = tmp_path / "asked.txt"
    lost = {**place.canned, "backend": {"kind": "scripted", "lost_after": 5, "journal": str(journal)}}
    place.write("models", "canned", {**lost, "resources": {"shards": 1}})
    _, run_uri = plan()
    for stage in ("fetch", "validate", "render"):
        run(stage, run_uri)

    for _ in range(2):
        with pytest.raises(AirflowException, match="went away") as failure:
            run("infer", run_uri)
        assert not isinstance(failure.value, AirflowFailException)
    run("infer", run_uri)

    asked = journal.read_text().split()
    assert len(asked) == len(set(asked)) == 12


def test_our_errors_leave_no_chain_behind_them():
    with pytest.raises(AirflowFailException, match=r"^no weights$") as failure, in_airflow_words():
        raise MissingWeights("no weights")
    assert failure.value.__suppress_context__

    with pytest.raises(AirflowException, match=r"^gone$"), in_airflow_words():
        raise BackendLost("gone")


@pytest.mark.parametrize("final", [BudgetSpent, UntrustedJudge])
def test_what_no_retry_can_mend_is_not_tried_again(final):
    with pytest.raises(AirflowFailException, match=r"^spent$"), in_airflow_words():
        raise final("spent")


def test_other_errors_pass_as_they_are():
    with pytest.raises(KeyError), in_airflow_words():
        raise KeyError("a bug")


@pytest.mark.parametrize(
    ("context", "line"),
    [
        ({"exception": AirflowFailException("model 'm': no weights")}, "model 'm': no weights"),
        ({"exception": KeyError()}, "KeyError"),
        ({}, "ended from outside: stopped by hand, or its worker was lost"),
    ],
)
def test_the_reason_ends_the_log(caplog, context, line):
    tell_reason(context)

    assert caplog.record_tuples[-1][1:] == (logging.ERROR, line)


@pytest.mark.slow
def test_the_report_writes_the_leaderboard_of_what_is_new(place):
    shards, run_uri = plan()
    for stage in STAGES:
        for shard in shards if stage == "infer" else ["0/1"]:
            run(stage, run_uri, shard)

    ReportOperator(task_id="report", suite="small").execute({})

    assert (place.root / "leaderboards" / "small" / "leaderboard.html").exists()
