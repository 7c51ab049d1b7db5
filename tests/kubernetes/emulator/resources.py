"""The verbs that all resources have: list, watch, create, get, patch, update, delete."""

from __future__ import annotations

import base64
import copy
import json
from typing import NamedTuple

from aiohttp import web

from tests.kubernetes.emulator import patches
from tests.kubernetes.emulator.defaults import complete, name_it
from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.kubelet import Kubelet
from tests.kubernetes.emulator.logs import is_true
from tests.kubernetes.emulator.selection import fields_match, labels_match
from tests.kubernetes.emulator.store import KINDS, Manifest, Store
from tests.kubernetes.emulator.validation import refuse_invalid

WATCH_SECONDS = 300.0
FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


class Target(NamedTuple):
    """What a path is about. `name` is empty for a collection, `namespace` None where there is none."""

    resource: str
    namespace: str | None
    name: str
    subresource: str

    @classmethod
    def of(cls, request: web.Request) -> Target:
        parts = request.match_info
        return cls(parts["resource"], parts.get("namespace"), parts.get("name", ""), parts.get("subresource", ""))


class Resources:
    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        self._store, self._kubelet = store, kubelet

    async def list(self, request: web.Request) -> web.StreamResponse:
        if is_true(request.query, "watch"):
            return await self._watch(request)
        target = Target.of(request)
        found = [o for o in self._store.all(target.resource, target.namespace) if _is_selected(request, o)]
        version = {"resourceVersion": str(self._store.version)}
        kind = f"{KINDS[target.resource]}List"
        return web.json_response({"kind": kind, "apiVersion": "v1", "metadata": version, "items": found})

    async def create(self, request: web.Request) -> web.Response:
        target, manifest = Target.of(request), await request.json()
        metadata = manifest.setdefault("metadata", {})
        if target.namespace is not None:
            self._store.get("namespaces", None, target.namespace)
            if metadata.setdefault("namespace", target.namespace) != target.namespace:
                raise ApiError(400, "the namespace of the object does not match the namespace of the request")
        name_it(metadata)
        if target.resource == "pods":
            self._admit(manifest)
        for key, value in manifest.pop("stringData", {}).items():
            manifest.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
        if request.query.get("dryRun") == "All":
            return web.json_response(manifest, status=201)
        self._store.add(target.resource, manifest)
        if target.resource == "pods":
            self._kubelet.begin(manifest)
        return web.json_response(manifest, status=201)

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self._found(request))

    async def patch(self, request: web.Request) -> web.Response:
        found, patch = self._found(request), await request.json()
        changed = copy.deepcopy(found)
        patches.apply(request.content_type, changed, patch)
        return self._replace(Target.of(request), found, changed)

    async def update(self, request: web.Request) -> web.Response:
        found, changed = self._found(request), await request.json()
        version = changed["metadata"].get("resourceVersion", found["metadata"]["resourceVersion"])
        if version != found["metadata"]["resourceVersion"]:
            name = found["metadata"]["name"]
            raise ApiError(409, f'Operation cannot be fulfilled on "{name}": the object has been modified')
        return self._replace(Target.of(request), found, changed)

    async def delete(self, request: web.Request) -> web.Response:
        target, found = Target.of(request), self._found(request)
        options = await request.json() if request.can_read_body else {}
        expected = (options.get("preconditions") or {}).get("uid")
        if expected not in (None, found["metadata"]["uid"]):
            raise ApiError(409, f"the UID in the precondition ({expected}) does not match the UID in record")
        if target.resource != "pods":
            self._store.remove(target.resource, found)
            return web.json_response(SUCCESS)
        grace = request.query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
        pod = self._kubelet.pod(found["metadata"]["namespace"], target.name)
        await self._kubelet.delete(pod, None if grace is None else int(grace))
        return web.json_response(found)

    def _admit(self, pod: Manifest) -> None:
        refuse_invalid(pod)
        complete(pod)
        account = pod["spec"]["serviceAccountName"]
        known = {o["metadata"]["name"] for o in self._store.all("serviceaccounts", pod["metadata"]["namespace"])}
        if account not in known | {"default"}:
            message = f'pods "{pod["metadata"]["name"]}" is forbidden: error looking up service account: "{account}"'
            raise ApiError(403, f"{message} not found")

    def _found(self, request: web.Request) -> Manifest:
        target = Target.of(request)
        return self._store.get(target.resource, target.namespace, target.name)

    def _replace(self, target: Target, found: Manifest, changed: Manifest) -> web.Response:
        """Objects stay the same ones, since their pods hold on to them. What a pod is made of cannot be changed."""
        if target.resource == "pods" and changed["spec"] != found["spec"]:
            raise ApiError(
                422, f'Pod "{target.name}" is invalid: spec: Forbidden: pod updates may not change its fields'
            )
        changed["metadata"].update({name: found["metadata"][name] for name in FIXED if name in found["metadata"]})
        for part in ("status",) if target.subresource == "status" else ("metadata", "data", "spec"):
            if part in changed:
                found[part] = changed[part]
        self._store.modified(target.resource, found)
        return web.json_response(found)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        target, query = Target.of(request), request.query
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)

        async def send(type: str, manifest: Manifest) -> None:
            await response.write(json.dumps({"type": type, "object": manifest}).encode() + b"\n")

        since = int(query.get("resourceVersion") or 0)
        if since == 0:
            since = self._store.version
            for manifest in [o for o in self._store.all(target.resource, target.namespace) if _is_selected(request, o)]:
                await send("ADDED", manifest)
        seconds = float(query.get("timeoutSeconds") or WATCH_SECONDS)
        try:
            async for change in self._store.watch(target.resource, since, seconds):
                is_here = target.namespace in (None, change.object["metadata"].get("namespace"))
                if is_here and _is_selected(request, change.object):
                    await send(change.type, change.object)
        except ApiError as error:
            await send("ERROR", error.status())
        return response


def _is_selected(request: web.Request, manifest: Manifest) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    query = request.query
    return labels_match(query.get("labelSelector", ""), labels) and fields_match(
        query.get("fieldSelector", ""), manifest
    )
