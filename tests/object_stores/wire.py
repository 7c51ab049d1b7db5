"""Between a client and an S3 server: notes every request, and has those fail that a test names."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

Failure = Literal["refuse", "stall", "cut_question", "cut_answer", "lose_answer"]
OF_ONE_HOP = ("connection", "transfer-encoding", "content-length", "expect", "date", "server")
REFUSAL = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"


@dataclass(frozen=True)
class Asked:
    """`kind`: the method, or LIST."""

    kind: str
    key: str
    query: str
    condition: str | None


@dataclass
class Fault:
    """How `times` requests that `fits` fail, after some that pass: refused by the server; the connection lost while the
    question is sent, or its answer, or after it was carried out and before the answer. One that stalls is never read to
    its end, so that whoever asks can be killed meanwhile."""

    how: Failure
    times: int
    fits: Callable[[Asked], bool]
    status: int = 503
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."
    passes_first: int = 0
    met: threading.Event = field(default_factory=threading.Event)


class Wire:
    def __init__(self, server: str, address: str) -> None:
        self.server, self.address = server, address
        self.forgets_conditions = False
        self.asked: list[Asked] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def fail(
        self, how: Failure, times: int = 1, fits: Callable[[Asked], bool] = lambda _: True, **said: object
    ) -> None:
        self._faults.append(Fault(how, times, fits, **said))  # type: ignore[arg-type]

    def stall(self, fits: Callable[[Asked], bool], after: int) -> threading.Event:
        """The next such request after so many is sent by half; the event says that it has come to that."""
        fault = Fault("stall", 1, fits, passes_first=after)
        self._faults = [fault]
        return fault.met

    def taken(self) -> dict[str, int]:
        """The kinds of request since it was last asked."""
        kinds = dict(sorted(self.kinds().items()))
        self.asked.clear()
        return kinds

    def kinds(self) -> Counter[str]:
        return Counter(asked.kind for asked in self.asked)

    def note(self, asked: Asked) -> Fault | None:
        """The fault that this request meets."""
        with self._lock:
            self.asked.append(asked)
            for fault in self._faults:
                if fault.times == 0 or not fault.fits(asked):
                    continue
                if fault.passes_first > 0:
                    fault.passes_first -= 1
                else:
                    fault.times -= 1
                    return fault
        return None


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms between its headers and its body
    wire: Wire

    def _pass(self) -> None:
        path, _, query = self.path.partition("?")
        kind = "LIST" if "list-type=2" in query else self.command
        fault = self.wire.note(Asked(kind, unquote(path), query, self.headers.get("If-None-Match")))
        size = int(self.headers.get("Content-Length") or 0)
        if fault is not None and fault.how in ("cut_question", "stall"):
            self.rfile.read(size // 2)
            fault.met.set()
            if fault.how == "stall":
                self.rfile.read(size)  # comes back when the other end is gone
            return self._hang_up()
        body = self.rfile.read(size)
        if fault is not None and fault.how == "refuse":
            refusal = REFUSAL.format(code=fault.code, message=fault.message).encode()
            return self._answer(fault.status, {"Content-Type": "application/xml"}, refusal)
        answer, content = self._carried_out(body)
        if self.wire.forgets_conditions and answer.status == 412:
            return self._answer(200, {}, b"")
        if fault is not None and fault.how == "lose_answer":
            return self._hang_up()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in OF_ONE_HOP}
        if self.command == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length", "0")
        cut = fault is not None and fault.how == "cut_answer"
        self._answer(answer.status, kept, content, sent=len(content) // 2 if cut else None)
        if cut:
            self._hang_up()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 - names that http.server looks for

    def _carried_out(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(urlsplit(self.wire.server).netloc, timeout=60)
        try:
            kept = {name: value for name, value in self.headers.items() if name.lower() not in OF_ONE_HOP}
            connection.request(self.command, self.path, body, kept)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes, sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():  # of HEAD, the server's own
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:sent])

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests print nothing."""


class _Threads(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@contextmanager
def wired(server: str) -> Iterator[Wire]:
    handler = type("Passing", (_Passing,), {})
    with _Threads(("127.0.0.1", 0), handler) as passing:
        wire = Wire(server, f"http://127.0.0.1:{passing.server_port}")
        handler.wire = wire  # type: ignore[attr-defined]
        thread = threading.Thread(target=passing.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield wire
        passing.shutdown()
        thread.join()
