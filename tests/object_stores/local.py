"""Servers on this machine, each until the test ends or the process that started it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
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
def served(*command: str, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    line = [*(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []), *command]  # Linux has it
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(line, env=environment, **quiet) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(address: str, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Whether something answers there with success; False once the process that should has ended.

    Raises URLError or OSError if neither comes in time.
    """
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            urlopen(address, timeout=5).close()
            return True
        except (URLError, OSError):
            if process is not None and process.poll() is not None:
                return False
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
