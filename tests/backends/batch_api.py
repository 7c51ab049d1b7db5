"""A server of the tests' own that speaks `/v1/files` and `/v1/batches`, and answers single chat completions too."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.backends.api_server import Reply


@dataclass
class BatchApi:
    """`answer(body)` makes each reply. A batch is at work until `finish` is called, or it is looked at so often as
    `last_look` says; then it has this `status`.
    """

    answer: Callable[[dict[str, Any]], Reply]
    url: str = ""
    status: str = "completed"
    expires: Callable[[dict[str, Any]], bool] = lambda body: False
    is_done: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    withdrawn: list[str] = field(default_factory=list)
    asked_at_once: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0
    last_look: int | None = None
    fetched: int = 0
    faults: list[Reply] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def requests(self) -> list[dict[str, Any]]:
        """What was handed in, in all batches together."""
        return [line for batch in self.batches.values() for line in lines(self.files[batch["input_file_id"]])]

    def finish(self) -> None:
        self.is_done = True

    def batch(self, id: str) -> dict[str, Any]:
        made = self.batches[id]
        asked = lines(self.files[made["input_file_id"]])
        if not self.is_done:
            counts = {"total": len(asked), "completed": 0, "failed": 0}
            return {**made, "status": "in_progress", "request_counts": counts}
        if self.status == "failed":
            return {**made, "status": "failed", "errors": {"data": [{"message": "the file is no good", "line": 1}]}}
        good, bad = [], []
        for line in asked:
            if self.expires(line["body"]):
                error = {"code": "batch_expired", "message": "This request could not be executed in time."}
                bad.append({"id": "r", "custom_id": line["custom_id"], "response": None, "error": error})
                continue
            reply = self.answer(line["body"])
            response = {"status_code": reply.status, "request_id": "r", "body": reply.body}
            (good if reply.status == 200 else bad).append(
                {"id": "r", "custom_id": line["custom_id"], "response": response, "error": None}
            )
        for kind, found in (("output", good), ("error", bad)):
            if found:
                self.files[f"{kind}-{id}"] = "\n".join(map(json.dumps, found)).encode()
                made[f"{kind}_file_id"] = f"{kind}-{id}"
        return {**made, "status": self.status}


def lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


@contextmanager
def serving_batches(answer: Callable[[dict[str, Any]], Reply]) -> Iterator[BatchApi]:
    api = BatchApi(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.handle_one(b"")

        def do_POST(self) -> None:
            self.handle_one(self.rfile.read(int(self.headers["Content-Length"] or 0)))

        def handle_one(self, body: bytes) -> None:
            with api.lock:
                api.keys.add(self.headers["Authorization"].removeprefix("Bearer "))
                if api.faults:
                    fault = api.faults.pop(0)
                    self.reply(fault.body, fault.status)
                    return
                self.reply(*self.found(body))

        def found(self, body: bytes) -> tuple[Any, int]:
            match self.command, self.path.removeprefix("/v1/").split("/"):
                case "POST", ["files"]:
                    return self.kept(body), 200
                case "POST", ["batches"]:
                    id = f"batch-{len(api.batches)}"
                    api.batches[id] = {"id": id, "object": "batch", "created_at": 1, **json.loads(body)}
                    return {**api.batches[id], "status": "validating"}, 200
                case "POST", ["batches", id, "cancel"]:
                    api.withdrawn.append(id)
                    return {**api.batches[id], "status": "cancelling"}, 200
                case "GET", ["batches", id] if id in api.batches:
                    api.looks += 1
                    api.is_done = api.is_done or api.looks == api.last_look
                    return api.batch(id), 200
                case "GET", ["files", id, "content"]:
                    api.fetched += 1
                    return api.files[id], 200
                case "POST", ["chat", "completions"]:
                    api.asked_at_once.append(json.loads(body))
                    reply = api.answer(api.asked_at_once[-1])
                    return reply.body, reply.status
            return {"error": {"message": f"no such thing: {self.path}"}}, 404

        def kept(self, body: bytes) -> dict[str, Any]:
            boundary = re.search(r"boundary=(.+)", self.headers["Content-Type"])
            assert boundary is not None
            parts = [part for part in body.split(b"--" + boundary[1].encode()) if b"\r\n\r\n" in part]
            fields = {
                re.search(rb'name="(\w+)"', p)[1]: p.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for p in parts
            }
            assert fields[b"purpose"] == b"batch"
            id = f"file-{len(api.files)}"
            api.files[id] = fields[b"file"]
            size = len(fields[b"file"])
            about = {"object": "file", "bytes": size, "created_at": 1, "filename": "requests.jsonl"}
            return {"id": id, **about, "purpose": "batch", "status": "processed"}

        def reply(self, body: Any, status: int) -> None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream" if raw is body else "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *arguments: Any) -> None:
            pass

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    listening = Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{listening.server_port}/v1"
    try:
        yield api
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
