"""Ends processes for good: a whole session of them, and also when the one that started them was killed.

As a program (`python -m llm_eval.airflow.processes`) it is the guard of a stack: it reads process ids, one a line, and
when its input ends, because the owner closed it or is gone, it ends the sessions that those processes lead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import IO

import psutil  # type: ignore[import-untyped]

TERMINATE_SECONDS = 8.0  # then by force: whatever a stage writes is whole or absent
KILL_SECONDS = 5.0
END_SECONDS = TERMINATE_SECONDS + KILL_SECONDS


def members(sessions: Collection[int]) -> list[psutil.Process]:
    """Living processes of these sessions: a process may leave its parent and its group, but hardly its session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return found


def end_sessions(sessions: Collection[int]) -> list[psutil.Process]:
    """Ask all members to end, then make them; returns those that are still there, which should be none."""
    for process in members(sessions):
        _send(process, signal.SIGTERM)
    started = time.monotonic()
    while alive := members(sessions):
        passed = time.monotonic() - started
        if passed > END_SECONDS:
            break
        if passed > TERMINATE_SECONDS:
            for process in alive:
                _send(process, signal.SIGKILL)
        time.sleep(0.1)
    return alive


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


class Guard:
    """Ends the sessions it was told of as soon as this process is gone, however it went."""

    def __init__(self, environment: Mapping[str, str], lock: IO[str] | None = None) -> None:
        """`lock`: a file whose lock the guard shares, so that it is held until the last process has ended."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=dict(environment),
            stdin=subprocess.PIPE,
            text=True,
            pass_fds=() if lock is None else (lock.fileno(),),
            start_new_session=True,  # Ctrl-C is for the owner, which then closes the input
        )

    def watch(self, session: int) -> None:
        """Also end this session. A guard that is gone itself is no reason to fail: it is the second line of defence."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{session}\n")
            self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def main() -> int:
    return len(end_sessions({int(line) for line in sys.stdin}))


if __name__ == "__main__":
    sys.exit(main())
