"""Airflow's own pod operator, with its own clients, over HTTP."""

import asyncio
import types

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from tests.kubernetes.emulator import Cluster
from tests.kubernetes.test_emulator_containers import needs

LEAST_RIGHTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: airflow, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: airflow, namespace: default}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get, list, create, patch, delete]}
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
- {apiGroups: [""], resources: [events], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: airflow, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: airflow}
subjects: [{kind: ServiceAccount, name: airflow, namespace: default}]
"""


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


EITHER = [KubernetesPodOperator.execute, deferred]


@pytest.mark.parametrize("execute", EITHER)
def test_a_pod_runs_and_is_gone(cluster, capsys, execute):
    execute(operator(cluster, "echo hello", deferrable=execute is deferred), context())

    assert "hello" in capsys.readouterr().out
    assert cluster.leaks() == []


@pytest.mark.leaves_pods
@pytest.mark.parametrize("execute", EITHER)
def test_a_failure_keeps_its_exit_code_and_its_last_words(cluster, execute):
    policy = {"termination_message_policy": "FallbackToLogsOnError", "on_finish_action": "keep_pod"}
    failing = operator(cluster, "echo out of memory; exit 3", deferrable=execute is deferred, **policy)

    with pytest.raises(AirflowException, match="out of memory"):
        execute(failing, context())

    (pod,) = cluster.pods()
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


@needs("exec")
@pytest.mark.parametrize("execute", EITHER)
def test_a_result_comes_back_through_the_sidecar(cluster, execute):
    script = """echo '{"a": 1}' > /airflow/xcom/return.json"""
    made = operator(cluster, script, do_xcom_push=True, deferrable=execute is deferred)
    run_context = context()

    result = execute(made, run_context)

    assert (result or run_context["ti"].pushed["return_value"]) == {"a": 1}


@pytest.mark.parametrize("execute", EITHER)
def test_the_least_rights_that_the_operator_needs_are_enough(tmp_path, capsys, execute):
    (tmp_path / "roles.yaml").write_text(LEAST_RIGHTS)
    with Cluster(tmp_path, access=tmp_path / "roles.yaml", start_seconds=1) as cluster:
        made = operator(cluster, "echo hello", deferrable=execute is deferred)
        made.config_file = str(cluster.kubeconfig_of("airflow"))

        execute(made, context())

        assert "hello" in capsys.readouterr().out
        assert cluster.leaks() == []
        assert {request.status for request in cluster.requests} <= {200, 201, None}


def test_a_log_that_is_cut_is_taken_up_again(cluster, capsys):
    cluster.faults.cut_logs(lines=1)

    operator(cluster, "for i in 1 2 3; do echo line-$i; sleep 2; done").execute(context())

    said = capsys.readouterr().out
    assert all(f"line-{i}" in said for i in (1, 2, 3))
    assert sum(request.path.endswith("/log") for request in cluster.requests) == 2


def test_lines_come_while_the_task_is_deferred(cluster, capsys):
    made = operator(cluster, "echo early; sleep 6; echo late", deferrable=True, logging_interval=1, poll_interval=0.5)

    deferred(made, context())

    assert {"early", "late"} <= set(capsys.readouterr().out.split())
    logs = [request for request in cluster.requests if request.path.endswith("/log")]
    assert sum("sinceSeconds" in request.query for request in logs) >= 1


def test_an_api_that_stumbles_is_asked_again(cluster):
    cluster.faults.fail("POST", "/pods$", 500)
    cluster.faults.fail("GET", "/pods/", 503)

    operator(cluster, "true").execute(context())

    assert [r.status for r in cluster.requests if r.method == "POST"] == [500, 201]


def test_a_pod_that_cannot_be_placed_is_given_up_and_deleted(cluster):
    made = operator(cluster, "true", node_selector={"no": "such-node"}, schedule_timeout_seconds=1)

    with pytest.raises(AirflowException):
        made.execute(context())

    assert cluster.leaks() == []


def test_a_second_try_takes_up_the_pod_of_the_first(cluster, capsys):
    first = operator(cluster, "echo one; sleep 2; echo two")
    pod = first.get_or_create_pod(first.build_pod_request_obj(context()), context())
    cluster.until(lambda: cluster.pod(pod.metadata.name)["status"]["phase"] == "Running", "it runs")

    operator(cluster, "echo never").execute(context())

    said = capsys.readouterr().out
    assert "two" in said
    assert "never" not in said
    assert sum(request.method == "POST" for request in cluster.requests) == 1


def test_a_task_that_is_ended_takes_its_pod_along(cluster):
    made = operator(cluster, "sleep 600", termination_grace_period=0)
    made.pod = made.get_or_create_pod(made.build_pod_request_obj(context()), context())

    made.on_kill()

    assert cluster.leaks() == []
