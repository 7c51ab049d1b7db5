"""What the `openai` backend takes beside a server that answers every request in 200 ms, 64 in flight.

    python benchmarks/api.py [-n 3] [--requests 2000]

The whole process of an infer stage, start to end. Requests a second are the server's: first arrival to last answer (320
are ideal, 312 in whole waves). Marginal CPU is what 1,000 requests take more than a run of 64. Fails unless every
request was answered and exactly 64 were in flight at the most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cpu import Cost, measure

SECONDS = 0.2
IN_FLIGHT = 64


class Server:
    """An ASGI application: chat completions after SECONDS, and at /figures what came in since it was last asked."""

    def __init__(self) -> None:
        self.count = self.working = self.most = 0
        self.first = self.last = 0.0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/figures":
            span = max(self.last - self.first, 1e-9)
            body = {"requests": self.count, "most": self.most, "per_second": self.count / span}
            self.count = self.most = 0
        else:
            self.first = self.first if self.count else time.monotonic()
            self.count += 1
            self.working += 1
            self.most = max(self.most, self.working)
            await asyncio.sleep(SECONDS)
            self.working -= 1
            self.last = time.monotonic()
            message = {"role": "assistant", "content": "A"}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
            body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
            body["usage"] = usage
        raw = json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": raw})


@contextmanager
def serving() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, __file__, "--serve", str(port)])
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                figures(url)
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def figures(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/figures", timeout=10) as answer:
        found: dict[str, float] = json.load(answer)
    return found


class Run(NamedTuple):
    """What one process took, and the requests a second that the server saw from first arrival to last answer."""

    cost: Cost
    per_second: float


def infer(folder: Path, url: str, requests: int) -> Run:
    """One infer stage of so many requests, in a process of its own, on a root of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        common = [sys.executable, "-m", "llm_eval", "-q", "--catalog", str(folder / "catalog"), "--root", root]
        planned = [*common, "plan", "-m", "served", "-d", "many", "--limit", str(requests)]
        run_uri = subprocess.run(planned, check=True, capture_output=True, text=True).stdout.split()[-1]
        for stage in ("fetch", "render"):
            subprocess.run([*common, stage, run_uri], check=True, capture_output=True)
        return asking([*common, "infer", run_uri], url, requests)


def asking(command: Sequence[str], url: str, requests: int, output: Path | None = None) -> Run:
    """What one whole command that asks so many requests took, what it prints kept in the file `output`.

    Raises SystemExit unless the server answered just that many and had IN_FLIGHT of them at once.
    """
    figures(url)
    cost = measure(command, output=output)
    seen = figures(url)
    if seen["requests"] != requests or seen["most"] != min(requests, IN_FLIGHT):
        sys.exit(
            f"{requests} requests were to be asked, {IN_FLIGHT} at a time, but the server saw {seen}. "
            f"The command was: {' '.join(command)}"
        )
    return Run(cost, seen["per_second"])


def write_catalog(folder: Path, url: str, count: int) -> None:
    backend = {"kind": "openai", "model": "m", "base_urls": [f"{url}/v1"], "max_in_flight": IN_FLIGHT}
    dataset = {
        "name": "many",
        "sources": [{"kind": "files", "path": "many.jsonl"}],
        "fields": {"input": "{{ question }}", "targets": "{{ answer }}"},
        "prompt": {"kind": "generate", "template": "{{ input }}"},
        "generation": {"max_tokens": 16},
        "extract": ["whole_text"],
        "metrics": ["exact_match"],
    }
    for kind, values in (("models", {"name": "served", "backend": backend, "chat": True}), ("datasets", dataset)):
        (folder / "catalog" / kind).mkdir(parents=True)
        (folder / "catalog" / kind / f"{values['name']}.yaml").write_text(yaml.safe_dump(values))
    (folder / "data").mkdir()
    lines = (json.dumps({"question": f"What is the name of number {n}?", "answer": "A"}) for n in range(count))
    (folder / "data" / "many.jsonl").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="counted rounds, after one that is not counted")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        import uvicorn

        uvicorn.run(Server(), host="127.0.0.1", port=arguments.serve, log_level="error")
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name, serving() as url:
        write_catalog(Path(name), url, arguments.requests)
        rounds = [(infer(Path(name), url, IN_FLIGHT), infer(Path(name), url, arguments.requests))]
        rounds += [
            (infer(Path(name), url, IN_FLIGHT), infer(Path(name), url, arguments.requests)) for _ in range(arguments.n)
        ]
    more = (arguments.requests - IN_FLIGHT) / 1000
    rows = {
        "requests/s": [whole.per_second for _, whole in rounds[1:]],
        "whole wall s": [whole.cost.wall_seconds for _, whole in rounds[1:]],
        "whole CPU s": [whole.cost.cpu_seconds for _, whole in rounds[1:]],
        "marginal CPU s per 1,000": [(w.cost.cpu_seconds - s.cost.cpu_seconds) / more for s, w in rounds[1:]],
        "start-up CPU s": [start.cost.cpu_seconds for start, _ in rounds[1:]],
        "peak MiB": [whole.cost.peak_mib for _, whole in rounds[1:]],
    }
    for what, values in rows.items():
        print(f"{what:25} {min(values):8.2f} {statistics.median(values):8.2f} {max(values):8.2f}")


if __name__ == "__main__":
    main()
