"""Servers on this machine, each until the test ends or the process that started it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.error import URLError
from urllib.request import urlopen

READY_SECONDS = 120


def free_ports(count: int) -> list[int]:
    with ExitStack() as kept:
        sockets = [kept.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def served(*command: str, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    line = ["setpriv", "--pdeathsig", "KILL", *command]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def wait_for(address: str) -> None:
    """Until something answers there with success."""
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            urlopen(address, timeout=5).close()
            return
        except (URLError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
