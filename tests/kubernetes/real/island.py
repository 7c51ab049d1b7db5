"""A machine within this one, for a node to live in: processes, mounts and a network of its own.

Whatever Kubernetes, containerd and CNI do to a machine, they do to this one: mounts, bridges, network namespaces and
files below /run, /var/lib and /var/log are gone with its first process, even if that is killed. Only control groups and
the folder outlive it (`remains`).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.kubernetes.real.daemons import Daemons
from tests.kubernetes.real.programs import Programs

START_SECONDS = 20.0
# The kubelet sets these for the whole kernel, and refuses to run where it can't. It is shown files that say they are.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass(frozen=True)
class Network:
    """Addresses of the range that RFC 2544 sets aside for tests; islands side by side differ in `number`."""

    number: int

    @classmethod
    def unused(cls) -> Network:
        taken = set(os.listdir("/sys/class/net"))
        return random.choice([made for made in map(cls, range(256)) if made.link not in taken])

    @property
    def link(self) -> str:
        """The host's end of the cable."""
        return f"llm-eval-{self.number}"

    @property
    def host(self) -> str:
        return f"198.18.{self.number}.1"

    @property
    def node(self) -> str:
        return f"198.18.{self.number}.2"

    @property
    def pods(self) -> str:
        return f"198.19.{self.number}.0/24"


class Island:
    """Exists from `start` until its daemons end."""

    def __init__(self, programs: Programs, folder: Path, daemons: Daemons) -> None:
        self._programs, self._folder, self._daemons = programs, folder, daemons
        self.network = Network.unused()

    def start(self) -> Self:
        namespaces = ("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--propagation", "slave")
        first = (self._programs.program("catatonit"), "-P")  # waits, and buries processes that lost their parent
        holder = self._daemons.start("island", [*namespaces, "--kill-child=KILL", *first])
        children = Path(f"/proc/{holder}/task/{holder}/children")
        self._daemons.wait("island", lambda: _is_running(children, "catatonit"), START_SECONDS)
        self._first = int(children.read_text())
        self._mount()
        self._connect()
        return self

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that runs this one on the island."""
        return ["nsenter", "--target", str(self._first), "--mount", "--net", "--pid", "--", *command]

    def sink(self) -> None:
        """End everything on it at once: pods need no farewell, and nobody else has seen them."""
        os.kill(self._first, signal.SIGKILL)

    def run(self, *command: str) -> str:
        return _run(self.inside(command))

    def _mount(self) -> None:
        settings = self._folder / "kernel"
        for name, value in KERNEL_SETTINGS.items():
            shown = settings / name
            shown.parent.mkdir(parents=True, exist_ok=True)
            shown.write_text(value)
            self.run("mount", "--bind", str(shown), f"/proc/sys/{name}")
        for place in ("log", "lib"):
            upper, work = (self._folder / f"var-{place}-{part}" for part in ("upper", "work"))
            upper.mkdir()
            work.mkdir()
            layers = f"lowerdir=/var/{place},upperdir={upper},workdir={work}"
            self.run("mount", "-t", "overlay", "overlay", "-o", layers, f"/var/{place}")
        self.run("mount", "-t", "tmpfs", "tmpfs", "/run")

    def _connect(self) -> None:
        there = self.network
        _run(["ip", "link", "add", there.link, "type", "veth", "peer", "name", "eth0", "netns", str(self._first)])
        _run(["ip", "address", "add", f"{there.host}/24", "dev", there.link])
        _run(["ip", "link", "set", there.link, "up"])
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{there.node}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", there.host)
        self.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        # Pods reach servers of this machine, and their answers come back: no address is translated on the way.
        _run(["ip", "route", "add", there.pods, "via", there.node])


def _is_running(children: Path, name: str) -> bool:
    try:
        (child,) = children.read_text().split()
        return Path(f"/proc/{child}/comm").read_text().strip() == name
    except (OSError, ValueError):  # not there yet
        return False


def _run(command: Sequence[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {ended.stderr.strip()}")
    return ended.stdout
