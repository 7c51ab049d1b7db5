"""The three ways to patch an object: JSON patch, merge patch and Kubernetes' own strategic merge patch."""

from __future__ import annotations

from typing import Any

from tests.kubernetes.emulator.errors import ApiError

# Lists whose members a strategic patch finds by a field, where a merge patch would replace the list.
MEMBERS_BY = {"containers": "name", "initContainers": "name", "env": "name", "volumes": "name", "conditions": "type"}


def apply(content_type: str, target: dict[str, Any], patch: Any) -> None:
    """Changes `target`. Raises ApiError 415 for a kind of patch that Kubernetes does not know, 422 for a bad path."""
    if content_type == "application/json-patch+json":
        for operation in patch:
            _apply_operation(target, operation)
    elif content_type in ("application/strategic-merge-patch+json", "application/merge-patch+json"):
        _merge(target, patch, is_strategic="strategic" in content_type)
    else:
        raise ApiError(415, f"the body of the request was in an unknown format: {content_type}")


def _merge(target: dict[str, Any], patch: dict[str, Any], *, is_strategic: bool) -> None:
    for name, value in patch.items():
        known = target.get(name)
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value, is_strategic=is_strategic)
        elif is_strategic and name in MEMBERS_BY and isinstance(known, list):
            _merge_members(known, value, MEMBERS_BY[name])
        else:
            target[name] = value


def _merge_members(known: list[dict[str, Any]], members: list[dict[str, Any]], by: str) -> None:
    for member in members:
        same = next((k for k in known if k.get(by) == member.get(by)), None)
        if same is None:
            known.append(member)
        elif member.get("$patch") == "delete":
            known.remove(same)
        else:
            _merge(same, member, is_strategic=True)


def _apply_operation(target: Any, operation: dict[str, Any]) -> None:
    *parents, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
    try:
        for step in parents:
            target = target[int(step)] if isinstance(target, list) else target[step]
        if isinstance(target, list):
            _apply_to_list(target, last, operation)
        elif operation["op"] == "remove":
            del target[last]
        elif operation["op"] in ("add", "replace"):
            target[last] = operation["value"]
        elif target[last] != operation["value"]:  # the only other one that clients send: "test"
            raise KeyError(last)
    except (KeyError, IndexError, ValueError) as error:
        raise ApiError(422, f"the server rejected our request: {operation!r} does not apply") from error


def _apply_to_list(target: list[Any], place: str, operation: dict[str, Any]) -> None:
    if operation["op"] == "remove":
        del target[int(place)]
    elif operation["op"] == "replace":
        target[int(place)] = operation["value"]
    else:
        target.insert(len(target) if place == "-" else int(place), operation["value"])
