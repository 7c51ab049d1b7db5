"""Airflow's own pod operator, with its own clients, over HTTP."""

import asyncio
import types

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from tests.kubernetes.emulator.isolation import FEATURES, best_isolation

needs_exec = pytest.mark.skipif("exec" not in FEATURES[best_isolation()], reason="needs namespaces")


def operator(cluster, script, **arguments):
    return KubernetesPodOperator(
        **{
            "task_id": "task",
            "name": "pod",
            "namespace": "default",
            "image": "registry/image:1",
            "cmds": ["sh", "-c"],
            "arguments": [script],
            "kubernetes_conn_id": None,
            "in_cluster": False,
            "config_file": str(cluster.kubeconfig),
            "startup_check_interval_seconds": 0.1,
            "log_pod_spec_on_failure": False,
            **arguments,
        }
    )


class TaskInstance(types.SimpleNamespace):
    def xcom_push(self, key, value, **_):
        self.pushed[key] = value


def context():
    ti = TaskInstance(dag_id="dag", task_id="task", run_id="run", map_index=-1, try_number=1, pushed={})
    return {"ti": ti, "run_id": "run", "dag": types.SimpleNamespace(), "task_state_store": None}


def deferred(made, run_context):
    """Lets the task wait in a triggerer's way, as often as it asks to, and comes back with its result."""
    try:
        return made.execute(run_context)
    except TaskDeferred as wish:
        while True:
            event = asyncio.run(first_event(wish.trigger))
            try:
                return getattr(made, wish.method_name)(run_context, event.payload, **(wish.kwargs or {}))
            except TaskDeferred as again:
                wish = again


async def first_event(trigger):
    async for event in trigger.run():
        return event


@pytest.mark.parametrize("execute", [KubernetesPodOperator.execute, deferred])
def test_a_pod_runs_and_is_gone(cluster, capsys, execute):
    execute(operator(cluster, "echo hello", deferrable=execute is deferred), context())

    assert "hello" in capsys.readouterr().out
    assert cluster.leaks() == []


@pytest.mark.leaves_pods
@pytest.mark.parametrize("execute", [KubernetesPodOperator.execute, deferred])
def test_a_failure_keeps_its_exit_code_and_its_last_words(cluster, execute):
    policy = {"termination_message_policy": "FallbackToLogsOnError", "on_finish_action": "keep_pod"}
    failing = operator(cluster, "echo out of memory; exit 3", deferrable=execute is deferred, **policy)

    with pytest.raises(AirflowException, match="out of memory"):
        execute(failing, context())

    (pod,) = cluster.pods()
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


@needs_exec
@pytest.mark.parametrize("execute", [KubernetesPodOperator.execute, deferred])
def test_a_result_comes_back_through_the_sidecar(cluster, execute):
    script = """echo '{"a": 1}' > /airflow/xcom/return.json"""
    made = operator(cluster, script, do_xcom_push=True, deferrable=execute is deferred)
    run_context = context()

    result = execute(made, run_context)

    assert (result or run_context["ti"].pushed["return_value"]) == {"a": 1}
