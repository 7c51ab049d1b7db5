"""A container as a real process of this machine: start it, signal it, look at it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.kubernetes.emulator.isolation import Isolation

ENTER = Path(__file__).with_name("enter.py")
CHUNK_BYTES = 1 << 16
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class StartError(Exception):
    """The command could not be started: there is no such program, or the tree could not be put together."""


class NoExec(Exception):
    """Commands cannot be run inside containers on this machine."""


@dataclass(frozen=True)
class Mount:
    """`source`: a file or folder of this machine; None for memory of `size_bytes`, 0 for as much as there is."""

    target: str
    source: str | None
    read_only: bool = False
    size_bytes: int = 0


@dataclass(frozen=True)
class Launch:
    """All that a container's first process has to know. It travels as JSON, so only plain values."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    host_name: str
    working_folder: str = "/"
    mounts: tuple[Mount, ...] = ()
    image_folders: tuple[str, ...] = ()
    user: int = 0
    group: int = 0
    groups: tuple[int, ...] = ()
    read_only_root: bool = False
    drops_capabilities: bool = False
    no_new_privileges: bool = False


class Process:
    """`pid` is of the container's PID 1, as this machine counts."""

    def __init__(self, outer: asyncio.subprocess.Process, pid: int, isolation: Isolation, launch: Launch) -> None:
        self.pid, self.isolation, self.launch = pid, isolation, launch
        self._outer = outer
        self._namespace = _namespace(pid)

    @property
    def session(self) -> int:
        return self._outer.pid

    @property
    def is_running(self) -> bool:
        return self._outer.returncode is None

    def signal(self, number: int) -> None:
        """To PID 1 alone, as a kubelet does. Killing it takes the rest of the container along."""
        with suppress(ProcessLookupError):
            if self.isolation == "none" and number == signal.SIGKILL:
                os.killpg(self.session, number)
            else:
                os.kill(self.pid, number)

    async def exit_code(self) -> int:
        """Waits for it; 128 + the signal's number, if one ended it."""
        # asyncio's own wait() lasts until nobody holds its output any more, and outside of a PID namespace that could
        # be a child that goes on.
        await _has_exited(self.session)
        if self.isolation == "none":
            with suppress(ProcessLookupError):
                os.killpg(self.session, signal.SIGKILL)
        code = await self._outer.wait()
        return 128 - code if code < 0 else code

    async def read(self, sink: Callable[[bytes], None]) -> None:
        """Hands on what it says, until all that could say more have ended."""
        assert self._outer.stdout is not None
        while chunk := await self._outer.stdout.read(CHUNK_BYTES):
            sink(chunk)

    def members(self) -> list[int]:
        """Processes of the container that are there, which may be more than PID 1 and its children."""
        if self.isolation == "none":
            return [pid for pid in _processes() if _session(pid) == self.session]
        return [pid for pid in _processes() if self._namespace and _namespace(pid) == self._namespace]

    def memory_bytes(self) -> int:
        return sum(map(_resident_bytes, self.members()))


async def start(launch: Launch, isolation: Isolation, folder: Path) -> Process:
    """Returns when the command runs, so that nobody enters before its mounts are there. Raises StartError.

    `folder`: an empty one of the container's own.
    """
    root, file = folder / "root", folder / "launch.json"
    root.mkdir()
    file.touch(0o600)  # the environment may hold secrets
    file.write_text(json.dumps({**asdict(launch), "isolation": isolation, "root": str(root), "parent": os.getpid()}))
    reading, writing = os.pipe()
    try:
        outer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(ENTER), str(file), str(writing)),
            pass_fds=[writing],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(writing)
    try:
        report = await asyncio.to_thread(_read_all, reading)
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            os.killpg(outer.pid, signal.SIGKILL)  # with what it has started
        await outer.wait()
        raise
    said = dict(line.split(" ", 1) for line in report.splitlines())
    if "failed" in said or "pid" not in said:
        await outer.wait()
        raise StartError(said.get("failed", "its first process ended without a word"))
    return Process(outer, int(said["pid"]), isolation, launch)


def enter(process: Process, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` inside the container, as its user. Raises NoExec without namespaces."""
    if process.isolation == "none":
        raise NoExec("there is no exec without namespaces: a command could reach every process of this machine")
    launch = process.launch
    user = ["-S", str(launch.user), "-G", str(launch.group)]
    if process.isolation == "user namespaces":
        user = ["-U", "--preserve-credentials"]
    return ["nsenter", "-t", str(process.pid), *user, "-m", "-u", "-i", "-p", "-r", "-w", "--", *command]


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor, errors="replace") as file:
        return file.read()


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


async def _has_exited(child: int) -> None:
    try:
        descriptor = os.pidfd_open(child)
    except ProcessLookupError:
        return
    loop, exited = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _session(pid: int) -> int | None:
    """None if it has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        return None if state == "Z" else os.getsid(pid)
    except OSError:
        return None


def _namespace(pid: int) -> str | None:
    """None if it is gone, or is none of ours."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0
