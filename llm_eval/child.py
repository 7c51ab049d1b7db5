"""Runs a stage as a child process that cannot outlive its parent: an Airflow task, or a run with several GPUs.

Weights are loaded in a process of their own: its memory is given back when the stage ends, it may use another
interpreter (LLM_EVAL_PYTHON), and a crash in native code costs one try of one shard.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from llm_eval import settings
from llm_eval.layout import Shard
from llm_eval.settings import Settings

logger = logging.getLogger(__name__)

# The child takes up to signals.GRACE_SECONDS; Airflow kills the task itself five seconds after it asked it to end.
TERMINATE_SECONDS = 4.0
TAIL_LINES = 40
ERROR_PREFIX = "error: "  # as the command line begins its last message
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def stage_arguments(stage: str, run_uri: str, shard: str, judge: str = "") -> list[str]:
    """What follows `python -m llm_eval`; the worker's child and the pod run the same."""
    sliced = ["--shard", shard] if Shard.parse(shard).count > 1 else []
    return [stage, run_uri, *sliced, *(["--judge", judge] if judge else [])]


def stage_command(environment: Mapping[str, str], arguments: Sequence[str]) -> list[str]:
    return [environment.get("LLM_EVAL_PYTHON") or sys.executable, "-m", "llm_eval", *arguments]


def child_environment(environment: Mapping[str, str], place: Settings) -> dict[str, str]:
    """This environment, with all of `place` (folders made absolute), this library importable and output unbuffered."""
    path = [str(settings.HOME), *filter(None, [environment.get("PYTHONPATH")])]
    return {
        **environment,
        "LLM_EVAL_ROOT": place.root,
        "LLM_EVAL_DATASETS": os.pathsep.join(map(str, place.datasets)),
        "LLM_EVAL_MODELS": os.pathsep.join(map(str, place.models)),
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUNBUFFERED": "1",
    }


class Ending(NamedTuple):
    """How a child ended. `exit_code` is negative for a signal; `reason` is its own last word."""

    exit_code: int
    reason: str


class Child:
    """One child process, leader of a process group of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            process_group=0,
            preexec_fn=_die_with(os.getpid()),
        )
        self._end_by: float | None = None  # once it is asked to end
        self._asking = threading.RLock()  # Airflow's handler of SIGTERM may come in the midst of asking

    def follow(self, prefix: str = "") -> Ending:
        """Log the child's lines as they come, until it ends. Whatever interrupts this also ends the child."""
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                logger.info("%s%s", prefix, line.rstrip())
                tail.append(line.rstrip())
            exit_code = self._process.wait()
        finally:
            self.kill()
        return Ending(exit_code, last_word(tail, exit_code))

    def ask_to_end(self) -> None:
        """Once, however often it is called: a second signal could interrupt what the first one set off."""
        with self._asking:
            if self._end_by is None and self._process.poll() is None:
                self._end_by = time.monotonic() + TERMINATE_SECONDS
                self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ask the child and whatever it started to end, then make them; nothing happens where they have ended."""
        self.ask_to_end()
        if self._end_by is not None:
            try:
                self._process.wait(max(0.0, self._end_by - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("process %d did not end in %g s: killing it", self._process.pid, TERMINATE_SECONDS)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # nobody left; macOS says PermissionError
            return


def end_all(children: Sequence[Child]) -> None:
    """All of them within the time of one: each has it from when it was asked."""
    for child in children:
        child.ask_to_end()
    for child in children:
        child.kill()


def last_word(lines: Iterable[str], exit_code: int) -> str:
    """Why a child failed: its message from `error: ` on, else its last line, and the signal that ended it."""
    lines = [line for line in lines if line.strip()]
    starts = [i for i, line in enumerate(lines) if line.startswith(ERROR_PREFIX)]
    said = "\n".join(lines[starts[-1] :]).removeprefix(ERROR_PREFIX) if starts else (lines[-1] if lines else "")
    if exit_code >= 0:
        return said or f"exit code {exit_code}, and not a word"
    name = signal.Signals(-exit_code).name
    hint = " (out of memory?)" if -exit_code == signal.SIGKILL else ""
    return f"the stage's process was ended by {name}{hint}. Its last line: {said or 'none'}"


def die_with_parent() -> None:
    """From now on the kernel kills this process when the thread that started it ends, even by SIGKILL.

    Nothing half-written is left: parts are written to a temporary name first. Nothing happens where there is no such
    thing.
    """
    if (ask_kernel := _die_with(os.getppid())) is not None:
        ask_kernel()


def _die_with(parent: int) -> Callable[[], None] | None:
    """For a process to call that this parent has started. None where there is no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_kernel
