"""The namespace, its roles and its network, as they would be applied."""

from __future__ import annotations

import ast
import re
from importlib.metadata import distribution

import pytest

from llm_eval.manifests import templates
from tests.kubernetes.manifests.objects import named, objects, of_kind
from tests.kubernetes.manifests.pods import VERSIONS, schema_mistake

STAGE = {"app.kubernetes.io/name": "llm-eval", "app.kubernetes.io/component": "stage"}
SANDBOX = {**STAGE, "llm-eval/sandbox": "true"}

CALL = re.compile(
    r"(?P<verb>read|list|create|patch|delete|connect_get)_namespaced_(?P<kind>pod|event)(_(?P<part>log|exec))?"
)
VERBS = {"read": "get", "connect_get": "get"}


@pytest.mark.parametrize("version", VERSIONS)
def test_all_objects_are_what_kubernetes_takes(version):
    assert [mistake for each in objects() if (mistake := schema_mistake(each, version))] == []


def test_what_the_template_names_is_created():
    template = templates.read(templates.SHIPPED)

    assert template["metadata"]["namespace"] in named("Namespace")
    assert template["spec"]["serviceAccountName"] in named("ServiceAccount")
    assert templates.mistakes(template, named("PriorityClass")) == []


def calls(module: str) -> set[tuple[str, str]]:
    """(verb, resource) of every call about pods and events in the source of one of the provider's modules."""
    provider = distribution("apache-airflow-providers-cncf-kubernetes")
    source = provider.locate_file(f"airflow/providers/cncf/kubernetes/{module}.py").read_text(encoding="utf-8")
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (match := CALL.fullmatch(node.attr)):
            resource = "/".join(filter(None, [f"{match['kind']}s", match["part"]]))
            found.add((VERBS.get(match["verb"], match["verb"]), resource))
        if isinstance(node, ast.Call) and re.match(r"\w+\.stream\(\s*\w+\.list_namespaced_event\b", ast.unparse(node)):
            found.add(("watch", "events"))
    return found


def granted() -> set[tuple[str, str]]:
    (role,) = of_kind("Role")
    return {(verb, resource) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def test_the_role_is_what_the_operator_calls_and_no_more():
    called = set().union(*map(calls, ("operators/pod", "utils/pod_manager", "triggers/pod", "hooks/kubernetes")))

    # The sidecar that XComs travel through is all that runs a command in a pod, and no pod of ours has one.
    assert called - {("get", "pods/exec")} == granted()


def test_the_role_is_of_one_namespace_and_has_no_wildcard():
    (role,) = of_kind("Role")

    assert role["metadata"]["namespace"] == "llm-eval"
    assert [rule["apiGroups"] for rule in role["rules"]] == [[""]] * len(role["rules"])
    assert not any("*" in values for rule in role["rules"] for values in rule.values())
    assert named("ClusterRole") | named("ClusterRoleBinding") == set()


def test_only_the_launcher_has_the_role_and_pods_have_none():
    (binding,) = of_kind("RoleBinding")

    assert binding["roleRef"]["name"] == "llm-eval-launcher"
    assert [(s["kind"], s["name"], s["namespace"]) for s in binding["subjects"]] == [
        ("ServiceAccount", "llm-eval-launcher", "llm-eval")
    ]
    (stage,) = (a for a in of_kind("ServiceAccount") if a["metadata"]["name"] == "llm-eval-stage")
    assert stage["automountServiceAccountToken"] is False


def applies(policy: dict, labels: dict[str, str]) -> bool:
    selector = policy["spec"]["podSelector"]
    absent = [e["key"] for e in selector.get("matchExpressions", []) if e["operator"] == "DoesNotExist"]
    assert len(absent) == len(selector.get("matchExpressions", [])), "only DoesNotExist is read here"
    return selector.get("matchLabels", {}).items() <= labels.items() and labels.keys().isdisjoint(absent)


def reachable(labels: dict[str, str]) -> set[tuple[str, int]] | None:
    """(protocol, port) that a pod with these labels may reach somewhere; None: it may reach everything."""
    policies = [p for p in of_kind("NetworkPolicy") if applies(p, labels) and "Egress" in p["spec"]["policyTypes"]]
    if not policies:
        return None
    rules = [rule for policy in policies for rule in policy["spec"].get("egress", [])]
    assert all(rule["to"] for rule in rules), "a rule without `to` allows every address"
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}


@pytest.mark.parametrize(
    ("labels", "ports"),
    [(STAGE, {("UDP", 53), ("TCP", 53), ("TCP", 443)}), (SANDBOX, set()), ({"app": "anything-else"}, set())],
)
def test_a_stage_reaches_names_and_the_store_and_a_sandbox_nothing(labels, ports):
    assert reachable(labels) == ports


@pytest.mark.parametrize("labels", [STAGE, SANDBOX])
def test_nothing_reaches_a_pod(labels):
    policies = [p for p in of_kind("NetworkPolicy") if applies(p, labels)]

    assert any("Ingress" in policy["spec"]["policyTypes"] for policy in policies)
    assert all("ingress" not in policy["spec"] for policy in policies)


def test_no_store_can_be_reached_until_somebody_names_its_addresses():
    cidrs = re.findall(r"'cidr': '([^']+)'", str(of_kind("NetworkPolicy")))

    assert cidrs == ["192.0.2.0/24"]  # TEST-NET-1, RFC 5737: no host has such an address
