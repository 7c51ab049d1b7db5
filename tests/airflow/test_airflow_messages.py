from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

from llm_eval.airflow import notify
from llm_eval.airflow.checkpoint_graph import build_checkpoint_dag, build_report_dag
from llm_eval.airflow.failures import REASON_KEY, leave_reason
from llm_eval.airflow.graph import Evaluation, build_evaluation_dag, build_leaderboard_dag
from llm_eval.airflow.messages import Message, few, hide, one_line, secrets_in
from llm_eval.airflow.notify import FailureNotice, checkpoint_of, late, listening, notify_gate, notify_leaderboard, why
from llm_eval.specs import Channel, ModelSpec, SuiteSpec
from llm_eval.specs.models import RegisteredCheckpoints

CHAT = Channel(kind="slack", connection="chat")
FAILURES = Channel(kind="slack", connection="failures", events=("failure",))
NIGHT = Channel(kind="slack", connection="night", events=("late", "leaderboard"))
MODEL = ModelSpec.model_validate({"name": "m", "backend": {"kind": "scripted"}, "chat": False})


def suite(name="nightly", **values):
    return SuiteSpec(name=name, models=("m",), datasets=("d",), **values)


def dag_of(*suites):
    return build_evaluation_dag(Evaluation(MODEL, "d", suites, "root"))


@pytest.fixture
def told(monkeypatch):
    """What `tell` was given, in the place of the network."""
    calls = []
    monkeypatch.setattr(notify, "tell", lambda channels, message: calls.append((tuple(channels), message)))
    return calls


@pytest.fixture(autouse=True)
def _address_of_airflow(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\r\n and\ttabs ", "two lines and tabs"),
        ("a\x1b[31mred", "a [31mred"),
        ("x" * 501, "x" * 499 + "…"),
    ],
)
def test_a_reason_becomes_one_line(text, line):
    assert one_line(text) == line


def test_a_message_of_an_airflow_that_does_not_know_its_address_has_no_link(told, monkeypatch):
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    failed = FailureNotice((CHAT,), "m on d failed", (("model", "m"),))

    failed({"dag": SimpleNamespace(dag_id="eval__m__d"), "run_id": "manual__1", "reason": "timed_out"})

    assert [(message.title, message.link) for _, message in told] == [("m on d failed", None)]
    assert notify.run_link("eval__m__d", "manual__1") is None


def test_of_many_lines_the_first_are_shown_and_the_others_counted():
    assert few(map(str, range(14))) == (*map(str, range(12)), "… and 2 more")
    assert len(few(map(str, range(12)))) == 12


def test_secrets_are_hidden_wherever_they_stand():
    secrets = secrets_in({"HF_TOKEN": "hf_abcdefgh", "API_KEY_FILE": "short", "HOME": "/home/somebody"})

    assert secrets == ["hf_abcdefgh"]
    assert (
        hide("401 for hf_abcdefgh at https://user:pass@hub.example/x", secrets)
        == "401 for *** at https://***@hub.example/x"
    )


def test_each_channel_is_told_only_of_what_it_asked_for_and_once():
    suites = [suite("a", notify=(CHAT, NIGHT)), suite("b", notify=(CHAT,))]

    assert listening(suites, "failure") == (CHAT,)
    assert listening(suites, "late") == (CHAT, NIGHT)


def test_a_dag_whose_suites_tell_nobody_has_neither_callback_nor_deadline():
    dag = dag_of(suite(notify=(NIGHT,)))

    assert (dag.on_failure_callback, dag.deadline) == (None, None)
    assert build_leaderboard_dag(suite()).on_failure_callback is None


def test_every_dag_of_a_suite_tells_of_its_failures(tmp_path):
    assert dag_of(suite(notify=(CHAT,))).on_failure_callback == FailureNotice(
        (CHAT,), "m on d failed", (("model", "m"), ("dataset", "d"))
    )
    assert build_leaderboard_dag(suite(notify=(CHAT,))).on_failure_callback == FailureNotice(
        (CHAT,), "the leaderboard of nightly failed", (("suite", "nightly"),)
    )
    asking, trained = (
        suite(notify=(CHAT,)),
        MODEL.model_copy(update={"checkpoints": RegisteredCheckpoints(kind="registry")}),
    )
    assert build_report_dag(asking, trained, str(tmp_path)).on_failure_callback == FailureNotice(
        (CHAT,), "the report on m failed", (("suite", "nightly"), ("model", "m"))
    )
    assert build_checkpoint_dag(trained, [asking], []).on_failure_callback == FailureNotice(
        (CHAT,), "the evaluations of a new checkpoint of m could not be started", (("model", "m"),)
    )


def test_suites_with_one_time_limit_share_an_alert():
    alerts = dag_of(
        suite("a", notify=(CHAT,), late_after_hours=6),
        suite("b", notify=(NIGHT,), late_after_hours=6.0),
        suite("c", notify=(NIGHT,), late_after_hours=0.5),
        suite("d", notify=(CHAT,)),
    ).deadline

    assert [(a.interval, [c["connection"] for c in a.callback.kwargs["channels"]]) for a in alerts] == [
        (timedelta(hours=6), ["chat", "night"]),
        (timedelta(minutes=30), ["night"]),
    ]


def test_a_dag_that_tells_survives_storing_in_airflows_database():
    dag = dag_of(suite(notify=(CHAT, NIGHT), late_after_hours=6))

    stored = DagSerialization.serialize_dag(dag)

    assert stored["has_on_failure_callback"] is True
    assert DagSerialization.serialize_dag(dag_of(suite(notify=(CHAT, NIGHT), late_after_hours=6))) == stored
    assert DagSerialization.deserialize_dag(stored).has_on_failure_callback


class Task:
    """As much of Airflow's task instance as a callback looks at."""

    task_id = "infer"

    def __init__(self, map_index=-1, reason=None):
        self.map_index, self.left = map_index, {} if reason is None else {REASON_KEY: reason}

    def xcom_push(self, key, value):
        self.left[key] = value

    def xcom_pull(self, task_ids, key, map_indexes):
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.left.get(key)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AirflowFailException("model 'm': no weights"), "model 'm': no weights"),
        (ValueError("the model said: my secret"), "ValueError; its log says more"),
    ],
)
def test_a_failed_task_leaves_its_reason_but_quotes_only_our_own_errors(error, reason):
    task = Task()

    leave_reason({"exception": error, "ti": task})

    assert task.left == {REASON_KEY: reason}


def test_a_reason_that_cannot_be_left_is_still_the_last_line_of_the_log(caplog):
    leave_reason({"exception": AirflowFailException("no weights"), "ti": None})

    assert caplog.messages[-1] == "no weights"


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"ti": Task(2, "backend lost")}, "infer[2]: backend lost"),
        ({"ti": Task(-1, "backend lost")}, "infer: backend lost"),
        ({"ti": Task()}, "infer: ended from outside: stopped by hand, or its worker was lost"),
        ({"reason": "timed_out"}, "the run took longer than its time limit"),
    ],
)
def test_the_reason_names_the_task_and_quotes_it(monkeypatch, context, words):
    monkeypatch.setattr(notify, "REASON_SECONDS", 0.0)

    assert why(context) == words


@pytest.mark.parametrize(
    ("run", "facts"),
    [
        ({"partition_key": "step-1", "conf": {"checkpoint": "step-2"}}, (("checkpoint", "step-1"),)),
        ({"partition_key": None, "conf": {"checkpoint": "step-2"}}, (("checkpoint", "step-2"),)),
        ({"partition_key": None, "conf": None}, ()),
        (None, ()),
    ],
)
def test_the_checkpoint_is_the_runs_partition_or_what_it_was_asked_for(run, facts):
    assert checkpoint_of(run) == facts


def test_a_failure_is_told_with_a_link_to_the_run(told):
    notice = FailureNotice((CHAT,), "m on d failed", (("model", "m"),))

    notice({"dag": SimpleNamespace(dag_id="eval__m__d"), "run_id": "manual__1+00", "reason": "timed_out"})

    link = "https://airflow.example/dags/eval__m__d/runs/manual__1%2B00"
    line = "the run took longer than its time limit"
    assert told == [((CHAT,), Message("m on d failed", (("model", "m"),), (line,), link))]


@pytest.mark.parametrize(
    ("has_told", "hearing"), [(True, (FAILURES,)), (False, (CHAT, FAILURES)), (None, (CHAT, FAILURES))]
)
def test_who_has_heard_of_a_closed_gate_does_not_hear_of_its_failed_run_too(told, has_told, hearing):
    class Gate:
        task_id, map_index = "gate", None

        def xcom_pull(self, *, task_ids, key, map_indexes=None):
            if key == notify.TOLD_KEY and has_told is None:
                raise RuntimeError("Airflow is away")
            return {notify.TOLD_KEY: has_told, REASON_KEY: "tiny lost 9 points"}[key]

    notice = FailureNotice((CHAT, FAILURES), "the report on m failed", ())
    notice({"dag": SimpleNamespace(dag_id="report__s__m"), "run_id": "r", "ti": Gate()})

    assert [(channels, message.lines) for channels, message in told] == [(hearing, ("gate: tiny lost 9 points",))]


async def is_late(state):
    (alert,) = dag_of(suite(notify=(CHAT,), late_after_hours=6)).deadline
    run = {"dag_id": "eval__m__d", "dag_run_id": "r", "state": state, "queued_at": "noon", "partition_key": "step-1"}
    await late(**alert.callback.kwargs, context={"dag_run": run})


def test_a_late_run_is_told(told):
    import asyncio

    asyncio.run(is_late("running"))

    facts = (("model", "m"), ("dataset", "d"), ("checkpoint", "step-1"))
    line = "not done 6 h after it was queued at noon; it is running"
    link = "https://airflow.example/dags/eval__m__d/runs/r"
    assert told == [((CHAT,), Message("m on d is late", facts, (line,), link))]


def test_a_run_that_has_failed_before_is_not_late(told):
    import asyncio

    asyncio.run(is_late("failed"))

    assert told == []


def test_a_gate_that_did_not_open_is_told_with_its_reasons(told):
    notify_gate(suite(notify=(CHAT, NIGHT)), "m", "step-1", ["d: 61.00 → 55.00"], "https://airflow.example/x")

    facts = (("suite", "nightly"), ("model", "m"), ("checkpoint", "step-1"))
    message = Message("m did not pass the gate of nightly", facts, ("d: 61.00 → 55.00",), "https://airflow.example/x")
    assert told == [((CHAT,), message)]


def test_a_leaderboard_is_told_only_when_it_changed(told):
    notify_leaderboard(suite(notify=(CHAT,)), [], None)
    notify_leaderboard(suite(notify=(CHAT,)), ["d: m 50.00, new"], None)

    message = Message("the leaderboard of nightly changed", (("suite", "nightly"),), ("d: m 50.00, new",), None)
    assert told == [((CHAT,), message)]
