"""What a container says, and commands inside it: logs over HTTP, exec over a websocket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import WSMsgType, web

from tests.kubernetes.emulator.containers import Container
from tests.kubernetes.emulator.errors import ApiError
from tests.kubernetes.emulator.faults import FAULT
from tests.kubernetes.emulator.kubelet import Kubelet
from tests.kubernetes.emulator.logs import LogWish, is_true
from tests.kubernetes.emulator.processes import NoExec, enter
from tests.kubernetes.emulator.resources import Target

CHANNELS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255
CHUNK_BYTES = 1 << 15


class Streams:
    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    async def log(self, request: web.Request) -> web.StreamResponse:
        container, wish = self._container(request), LogWish.of(request.query)
        if container.process is None and container.exit_code is None:
            reason = container.state["waiting"]["reason"]
            pod = Target.of(request).name
            raise ApiError(400, f'container "{container.name}" in pod "{pod}" is waiting to start: {reason}')
        if wish.previous and not container.restarts:
            raise ApiError(400, f'previous terminated container "{container.name}" not found')
        fault = request.get(FAULT)
        left = fault.lines if fault else None
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for line in (container.previous_log if wish.previous else container.log).read(wish):
            await response.write(line)
            if left is not None and (left := left - 1) <= 0:
                assert request.transport is not None
                request.transport.close()  # in the middle of a chunked answer: the client sees a broken connection
                break
        return response

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """The protocol: each message begins with its channel; at the end comes a Status on channel 3."""
        container = self._container(request)
        if not container.is_running or container.process is None:
            raise ApiError(400, f"container {container.name} is not running")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise ApiError(400, "Upgrade request required")
        words = request.query.getall("command", [])
        if not words:
            raise ApiError(400, "you must specify at least 1 command for the container")
        try:
            command = enter(container.process, words)
        except NoExec as error:
            raise ApiError(500, str(error)) from error
        has_input = is_true(request.query, "stdin")
        socket = web.WebSocketResponse(protocols=CHANNELS)
        await socket.prepare(request)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=container.process.launch.environment,
            stdin=asyncio.subprocess.PIPE if has_input else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        reading = asyncio.create_task(_feed(socket, process))
        try:
            await asyncio.gather(_hand_on(process.stdout, socket, STDOUT), _hand_on(process.stderr, socket, STDERR))
            code = await process.wait()
            if not socket.closed:
                await socket.send_bytes(bytes([STATUS]) + json.dumps(_status(code)).encode())
                await socket.close()
        finally:
            reading.cancel()
            if process.returncode is None:  # the client has gone, or the cluster is being closed
                process.kill()
        return socket

    def _container(self, request: web.Request) -> Container:
        target = Target.of(request)
        pod = self._kubelet.pod(target.namespace or "", target.name)
        if pod.is_lost:
            raise ApiError(500, f'Get "https://node:10250/containerLogs/{target.name}": dial tcp: no route to host')
        return self._kubelet.container(pod, request.query.get("container"))


async def _hand_on(stream: asyncio.StreamReader | None, socket: web.WebSocketResponse, channel: int) -> None:
    assert stream is not None
    await socket.send_bytes(bytes([channel]))  # a real server opens each channel with an empty message
    while chunk := await stream.read(CHUNK_BYTES):
        if not socket.closed:
            await socket.send_bytes(bytes([channel]) + chunk)


async def _feed(socket: web.WebSocketResponse, process: asyncio.subprocess.Process) -> None:
    """What the client types goes to the command, until one of them closes."""
    async for message in socket:
        data = message.data.encode() if message.type == WSMsgType.TEXT else message.data
        if process.stdin is None or not data:
            continue
        if data[0] == STDIN:
            process.stdin.write(data[1:])
            await process.stdin.drain()
        elif data[0] == CLOSE:
            process.stdin.close()
    if process.stdin is not None:
        process.stdin.close()


def _status(code: int) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
