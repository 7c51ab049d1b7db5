"""Real servers that messages are sent to: one for webhooks, one for e-mail. They remember what came."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

WAIT_SECONDS = 60.0


@dataclass
class Webhooks:
    """`/ok/…` takes messages as Slack does, `/bot/…` as Feishu does; others refuse, hang, or drip an answer."""

    url: str = ""
    came: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def bodies(self, path: str = "") -> list[dict[str, Any]]:
        return [body for place, body in list(self.came) if place.startswith(path)]

    def texts(self, path: str = "") -> list[str]:
        return [body["text"] for body in self.bodies(path)]

    def wait_for(self, text: str, seconds: float = WAIT_SECONDS) -> str:
        """The first message with this text in it that was taken. Fails when none comes in time."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            for said in self.texts("/ok"):
                if text in said:
                    return said
            time.sleep(0.2)
        raise AssertionError(f"no message with {text!r} came; there were {self.bodies()}")


@contextmanager
def webhooks() -> Iterator[Webhooks]:
    receiver = Webhooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.came.append((self.path, body))
            receiver.headers.append(dict(self.headers))
            kind = self.path.split("/")[1]
            if kind == "hangs":
                receiver.over.wait(120)
            elif kind == "drips":
                self.send_response(200)
                self.end_headers()
                while not receiver.over.wait(0.5):
                    self.wfile.write(b".")
            elif kind == "refuses":
                self._answer(200, {"code": 19001, "msg": "param invalid: incoming webhook access token invalid"})
            elif kind == "bot":
                self._answer(200, {"code": 0, "msg": "success"})
            elif kind == "ok":
                self._answer(200, "ok")
            else:
                self._answer(404, f"no_team at {self.path}")

        def _answer(self, status: int, body: Any) -> None:
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: Any) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                return  # whoever asked gave up

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Threads(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()


@dataclass
class Letter:
    sender: str
    receivers: list[str]
    message: Message

    @property
    def html(self) -> str:
        (part,) = self.message.get_payload()
        return part.get_payload(decode=True).decode()


@dataclass
class Mailbox:
    port: int = 0
    letters: list[Letter] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.letters.append(
            Letter(envelope.mail_from, list(envelope.rcpt_tos), message_from_bytes(envelope.original_content))
        )
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    # The controller finds out whether it is up by calling the port that it was given, so 0 will not do.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        box.port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port, ready_timeout=60.0)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
