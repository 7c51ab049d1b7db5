"""Who may do what."""

import json

import pytest
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config

from tests.kubernetes.emulator import Cluster, manifests

ROLES = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: airflow, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pods, namespace: default}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get, list, create, delete]}
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: airflow, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pods}
subjects: [{kind: ServiceAccount, name: airflow, namespace: default}]
"""


@pytest.fixture
def guarded(tmp_path):
    (tmp_path / "roles.yaml").write_text(ROLES)
    with Cluster(tmp_path, access=tmp_path / "roles.yaml", namespaces=["default", "evals"]) as cluster:
        yield cluster
        assert cluster.leaks() == []


def client(kubeconfig):
    return CoreV1Api(new_client_from_config(str(kubeconfig)))


def refusal(call, *arguments, **keywords):
    with pytest.raises(ApiException) as refused:
        call(*arguments, **keywords)
    return refused.value


def test_a_role_allows_what_it_names(guarded):
    airflow = client(guarded.kubeconfig_of("airflow"))
    airflow.create_namespaced_pod("default", manifests.pod("echo hello"))
    guarded.until(lambda: guarded.pod("pod")["status"]["phase"] == "Succeeded", "it has run")

    assert "hello" in airflow.read_namespaced_pod_log("pod", "default")
    airflow.delete_namespaced_pod("pod", "default")

    assert {request.user for request in guarded.requests} == {"system:serviceaccount:default:airflow"}


@pytest.mark.parametrize(
    ("verb", "resource", "ask"),
    [
        ("patch", "pods", lambda api: api.patch_namespaced_pod("x", "default", {})),
        ("watch", "pods", lambda api: api.list_namespaced_pod("default", watch=True)),
        ("list", "events", lambda api: api.list_namespaced_event("default")),
        ("get", "pods/exec", lambda api: api.connect_get_namespaced_pod_exec("x", "default", command="sh")),
        ("get", "secrets", lambda api: api.read_namespaced_secret("x", "default")),
    ],
)
def test_everything_else_is_forbidden_and_named(guarded, verb, resource, ask):
    refused = refusal(ask, client(guarded.kubeconfig_of("airflow")))

    status = json.loads(refused.body)
    assert (refused.status, status["reason"]) == (403, "Forbidden")
    who = "system:serviceaccount:default:airflow"
    assert f'User "{who}" cannot {verb} resource "{resource}" in API group "" in the namespace "default"' in str(
        status["message"]
    )


def test_a_role_counts_in_its_own_namespace(guarded):
    airflow = client(guarded.kubeconfig_of("airflow"))

    assert refusal(airflow.list_namespaced_pod, "evals").status == 403


def test_an_account_without_a_role_may_do_nothing(guarded):
    assert refusal(client(guarded.kubeconfig_of("nobody")).list_namespaced_pod, "default").status == 403


def test_the_administrator_may_do_everything(guarded):
    assert client(guarded.kubeconfig).list_namespaced_secret("default").items == []


def test_a_token_that_has_expired_is_refused_until_the_kubeconfig_is_read_again(guarded):
    before = client(guarded.kubeconfig_of("airflow"))
    assert before.list_namespaced_pod("default").items == []

    guarded.renew_token("airflow")

    assert refusal(before.list_namespaced_pod, "default").status == 401
    assert client(guarded.kubeconfig_of("airflow")).list_namespaced_pod("default").items == []
