"""A real server on this machine that speaks as much of OpenAI's protocol as a test asks for, and breaks it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the server sends. body: text as it is, anything else as JSON. `cut`: close after so many bytes of it.

    `pieces`: instead of a body, texts that are sent one after the other, each after so many seconds; the connection
    then closes, as the length of what is to come was not told.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    cut: int | None = None
    pieces: tuple[tuple[float, str], ...] = ()


def said(text: str | None, finish: str = "stop", **choice: Any) -> Reply:
    """A chat completion with this text."""
    message = {"role": "assistant", "content": text, **choice}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return Reply(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    )


def wrote(text: str) -> Reply:
    """A plain completion."""
    choices = [{"index": 0, "text": text, "finish_reason": "length", "logprobs": None}]
    return Reply({"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": choices})


def streamed(*chunks: dict[str, Any], seconds: float = 0.0, end: str = "data: [DONE]\n\n") -> Reply:
    """Chunks of a streamed answer as server-sent events, so many seconds before each."""
    return Reply(None, pieces=(*((seconds, f"data: {json.dumps(chunk)}\n\n") for chunk in chunks), (0.0, end)))


def piece(text: str | None = None, finish: str | None = None, index: int = 0, **choice: Any) -> dict[str, Any]:
    """One chunk of a streamed chat completion."""
    delta = {} if text is None else {"content": text}
    return {"id": "1", "choices": [{"index": index, "delta": delta, "finish_reason": finish, **choice}]}


def refused(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message, "code": code, "type": "error"}}, status, named)


@dataclass
class Server:
    """`answer(body, number)` makes each reply; `asked` are the bodies so far, `at_once` the most in work together."""

    answer: Callable[[dict[str, Any], int], Reply]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    working: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[Server]:
    server = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.asked.append(body)
                server.times.append(time.monotonic())
                server.keys.append(self.headers["Authorization"].removeprefix("Bearer "))
                server.paths.append(self.path)
                number = len(server.asked)
                server.working += 1
                server.at_once = max(server.at_once, server.working)
            try:
                self.reply(server.answer(body, number))
            finally:
                with server.lock:
                    server.working -= 1

        def reply(self, reply: Reply) -> None:
            time.sleep(reply.seconds)
            if reply.pieces:
                self.write_pieces(reply)
                return
            raw = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw[: reply.cut])
            if reply.cut is not None:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def write_pieces(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in {"Content-Type": "text/event-stream", "Connection": "close", **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            for seconds, text in reply.pieces:
                time.sleep(seconds)
                self.wfile.write(text.encode())
                self.wfile.flush()
            self.close_connection = True

        def log_message(self, *arguments: Any) -> None:
            pass

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, *arguments: Any) -> None:
            pass  # a client that went away

    listening = Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{listening.server_port}/v1"
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
