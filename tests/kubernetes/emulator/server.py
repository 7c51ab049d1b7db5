"""The API server: its paths, and what every request passes through: the trace, faults on purpose, access."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from tests.kubernetes.emulator.access import Access, Action
from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.faults import FAULT, Faults
from tests.kubernetes.emulator.kubelet import Kubelet
from tests.kubernetes.emulator.logs import is_true
from tests.kubernetes.emulator.resources import Resources, Target
from tests.kubernetes.emulator.store import KINDS, WITHOUT_NAMESPACE
from tests.kubernetes.emulator.streams import Streams

MOST_BYTES = 16 << 20
BOUND = "|".join(sorted(KINDS.keys() - WITHOUT_NAMESPACE))
FREE = "|".join(sorted(WITHOUT_NAMESPACE))
VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
USER = web.RequestKey("user", str)
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
        self._resources, self._streams = Resources(kubelet.machine.store, kubelet), Streams(kubelet)

    def application(self) -> web.Application:
        """A new one for each time that the server is started."""
        resources, streams = self._resources, self._streams
        application = web.Application(middlewares=[self._pass], client_max_size=MOST_BYTES)
        router = application.router
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
        return application

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
                    user=request.get(USER, ""),
                )
            )

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            fault = self.faults.next(request.method, request.path_qs)
            if fault:
                await fault.strike()
                request[FAULT] = fault
            if self._access and "resource" in request.match_info:
                request[USER] = self._access.check(request.headers.get("Authorization", ""), action_of(request))
            return await handler(request)
        except ApiError as error:
            return _refusal(error)
        except json.JSONDecodeError as error:
            return _refusal(ApiError(400, f"couldn't get the object from the body: {error}"))
        except web.HTTPNotFound:  # a path that is not among ours
            return _refusal(ApiError(404, "the server could not find the requested resource"))
        except ConnectionError:  # the client has left
            raise
        except Exception as error:
            self._errors.append(error)
            raise


def _refusal(error: ApiError) -> web.Response:
    return web.json_response(error.status(), status=error.code, headers=error.headers)


def action_of(request: web.Request) -> Action:
    """In the words of a Role's rules."""
    target = Target.of(request)
    verb = VERBS.get(request.method, "get" if target.name else "list")
    if verb == "list" and is_true(request.query, "watch"):
        verb = "watch"
    return Action(verb, "/".join(filter(None, (target.resource, target.subresource))), target.namespace)
