"""The API server: its paths, and what every request passes through: the trace, faults on purpose, access."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from tests.kubernetes.emulator.access import Access, Action
from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.faults import Faults
from tests.kubernetes.emulator.kubelet import Kubelet
from tests.kubernetes.emulator.logs import is_true
from tests.kubernetes.emulator.resources import Resources, Target
from tests.kubernetes.emulator.store import KINDS, WITHOUT_NAMESPACE
from tests.kubernetes.emulator.streams import Streams

MOST_BYTES = 16 << 20
BOUND = "|".join(sorted(KINDS.keys() - WITHOUT_NAMESPACE))
FREE = "|".join(sorted(WITHOUT_NAMESPACE))
VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Request:
    """One that was answered. `status` is None if the client left before; `user` is empty without access control."""

    method: str
    path: str
    query: str
    status: int | None
    seconds: float
    agent: str
    content_type: str
    user: str


class Server:
    """`access`: None lets everybody do everything."""

    def __init__(self, kubelet: Kubelet, access: Access | None) -> None:
        self.faults = Faults()
        self.requests: list[Request] = []
        self._access, self._errors = access, kubelet.machine.errors
        resources, streams = Resources(kubelet.machine.store, kubelet), Streams(kubelet)
        self.application = web.Application(middlewares=[self._pass], client_max_size=MOST_BYTES)
        router = self.application.router
        bound, free = f"/api/v1/namespaces/{{namespace}}/{{resource:{BOUND}}}", f"/api/v1/{{resource:{FREE}}}"
        router.add_get(f"/api/v1/{{resource:{BOUND}}}", resources.list)
        router.add_get(f"{bound}/{{name}}/{{subresource:log}}", streams.log)
        router.add_get(f"{bound}/{{name}}/{{subresource:exec}}", streams.exec)
        for collection in (bound, free):
            router.add_get(collection, resources.list)
            router.add_post(collection, resources.create)
            for one in (f"{collection}/{{name}}", f"{collection}/{{name}}/{{subresource:status}}"):
                router.add_get(one, resources.get)
                router.add_patch(one, resources.patch)
                router.add_put(one, resources.update)
            router.add_delete(f"{collection}/{{name}}", resources.delete)

    @web.middleware
    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = time.monotonic(), None
        try:
            response = await self._answer(request, handler)
            status = response.status
            return response
        finally:
            self.requests.append(
                Request(
                    method=request.method,
                    path=request.path,
                    query=request.query_string,
                    status=status,
                    seconds=time.monotonic() - began,
                    agent=request.headers.get("User-Agent", ""),
                    content_type=request.headers.get("Content-Type", ""),
                    user=request.get("user", ""),
                )
            )

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            fault = self.faults.next(request.method, f"{request.path}?{request.query_string}")
            if fault:
                await fault.strike()
                request["fault"] = fault
            if self._access and "resource" in request.match_info:
                request["user"] = self._access.check(request.headers.get("Authorization", ""), action_of(request))
            return await handler(request)
        except ApiError as error:
            return web.json_response(error.status(), status=error.code, headers=error.headers)
        except Exception as error:
            self._errors.append(error)
            raise


def action_of(request: web.Request) -> Action:
    """In the words of a Role's rules."""
    target = Target.of(request)
    verb = VERBS.get(request.method, "get" if target.name else "list")
    if verb == "list" and is_true(request.query, "watch"):
        verb = "watch"
    return Action(verb, "/".join(filter(None, (target.resource, target.subresource))), target.namespace)
