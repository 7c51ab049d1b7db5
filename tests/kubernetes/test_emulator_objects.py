"""The API's objects: selectors, patches, versions, watches."""

import asyncio
import json

import pytest
from kubernetes.client.exceptions import ApiException

from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.patches import apply
from tests.kubernetes.emulator.selection import fields_match, labels_match
from tests.kubernetes.emulator.store import Store

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=eval", True),
        ("app==eval,tier!=web", True),
        ("app=other", False),
        ("app!=eval", False),
        ("app", True),
        ("tier", False),
        ("!tier", True),
        ("!app", False),
        ("app in (eval, web),!tier", True),
        ("app notin (eval,web)", False),
        ("dag_id=,app=eval", False),
        ("already_checked!=True,!airflow-worker", True),
    ],
)
def test_labels_are_selected(selector, matches):
    assert labels_match(selector, {"app": "eval"}) == matches


def test_a_selector_that_cannot_be_read_is_refused():
    with pytest.raises(ApiError, match="unable to parse"):
        labels_match("app=eval=twice", {})


@pytest.mark.parametrize(
    ("selector", "matches"),
    [("metadata.name=a", True), ("metadata.name!=a", False), ("status.phase=", True), ("a.b=c", False)],
)
def test_fields_are_selected(selector, matches):
    assert fields_match(selector, {"metadata": {"name": "a"}}) == matches


X1, X2 = {"name": "x", "value": "1"}, {"name": "x", "value": "2"}


@pytest.mark.parametrize(
    ("kind", "patch", "labels", "env"),
    [
        (STRATEGIC, {"labels": {"b": "2", "a": None}}, {"b": "2"}, [X1]),
        (STRATEGIC, {"env": [X2, {"name": "y"}]}, {"a": "1"}, [X2, {"name": "y"}]),
        (STRATEGIC, {"env": [{"name": "x", "$patch": "delete"}]}, {"a": "1"}, []),
        (MERGE, {"env": [{"name": "y"}]}, {"a": "1"}, [{"name": "y"}]),
        (JSON, [{"op": "add", "path": "/env/-", "value": X2}, {"op": "remove", "path": "/env/0"}], {"a": "1"}, [X2]),
        (JSON, [{"op": "replace", "path": "/labels/a", "value": "2"}], {"a": "2"}, [X1]),
    ],
)
def test_an_object_is_patched(kind, patch, labels, env):
    target = {"labels": {"a": "1"}, "env": [dict(X1)]}

    apply(kind, target, patch)

    assert target == {"labels": labels, "env": env}


@pytest.mark.parametrize(
    ("kind", "patch", "code"), [("text/plain", {}, 415), (JSON, [{"op": "test", "path": "/a", "value": 1}], 422)]
)
def test_a_patch_that_does_not_apply_is_refused(kind, patch, code):
    with pytest.raises(ApiError) as refusal:
        apply(kind, {"a": 2}, patch)

    assert refusal.value.code == code


def named(name):
    return {"metadata": {"name": name, "namespace": "default"}}


def seen(store, since, seconds=0.0):
    async def watch():
        return [(c.type, c.object["metadata"]["name"]) async for c in store.watch("pods", since, seconds)]

    return asyncio.run(watch())


def test_a_watch_tells_what_happened_since_a_version():
    store = Store()
    first = store.add("pods", named("a"))
    since = store.version
    store.modified("pods", first)
    store.add("events", named("not-a-pod"))
    store.remove("pods", store.add("pods", named("b")))

    assert seen(store, since) == [("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "b")]


def test_a_watch_tells_objects_as_they_were():
    store = Store()
    pod = store.add("pods", named("a"))
    pod["status"] = "changed later"

    async def watch():
        return [change.object async for change in store.watch("pods", store.version - 1, 0)]

    (then,) = asyncio.run(watch())
    assert "status" not in then


def test_a_watch_from_a_version_that_is_forgotten_is_refused():
    store = Store()
    store.add("pods", named("a"))
    since = store.version
    store.add("pods", named("b"))
    store.forget_history()

    with pytest.raises(ApiError) as refusal:
        seen(store, since)

    assert refusal.value.code == 410
    assert seen(store, store.version) == []


def test_what_is_removed_is_not_modified_any_more():
    store = Store()
    pod = store.add("pods", named("a"))
    store.remove("pods", pod)
    since = store.version

    store.modified("pods", pod)

    assert store.version == since


def test_a_name_is_taken_once(api, cluster):
    cluster.add("configmaps", "settings", data={"a": "b"})

    assert api.read_namespaced_config_map("settings", "default").data == {"a": "b"}
    with pytest.raises(ApiError, match="already exists"):
        cluster.add("configmaps", "settings")


def test_who_writes_what_another_has_changed_is_told(api, cluster):
    cluster.add("configmaps", "settings", data={"a": "b"})
    mine = api.read_namespaced_config_map("settings", "default")
    api.patch_namespaced_config_map("settings", "default", {"data": {"a": "c"}})

    with pytest.raises(ApiException) as refusal:
        api.replace_namespaced_config_map("settings", "default", mine)

    assert (refusal.value.status, refusal.value.reason) == (409, "Conflict")


def test_a_path_that_nobody_knows_is_a_refusal_that_clients_can_read(api):
    with pytest.raises(ApiException) as refusal:
        api.read_namespaced_limit_range("limits", "default")

    assert json.loads(refusal.value.body)["reason"] == "NotFound"
