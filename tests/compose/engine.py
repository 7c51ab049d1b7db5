"""A Docker daemon of one test: its own folder and socket, nothing left of it afterwards. Debian's packages; root only.

TEST_DOCKER_HOST names one that runs already, such as `unix:///var/run/docker.sock`: images and layers are kept
there, so that a second run takes minutes less.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 60.0
CLIENT = "/usr/bin/docker"  # Debian's, as old as its daemon; another one on PATH may ask for BuildKit
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class NoEngine(Exception):
    """Why there can be no daemon here; a reason to skip."""


@dataclass(frozen=True)
class Engine:
    """`environment`: makes docker and docker compose speak to this daemon."""

    environment: Mapping[str, str]

    @classmethod
    def at(cls, address: str) -> Engine:
        # BuildKit is a package of its own that Debian's Docker does without.
        return cls({**os.environ, "DOCKER_HOST": address, "DOCKER_BUILDKIT": "0"})

    def has_image(self, name: str) -> bool:
        return bool(self.run("image", "ls", "--quiet", name).strip())

    def run(self, *arguments: str, **keywords: object) -> str:
        """What `docker ARGUMENTS` says. Raises RuntimeError with all of it if it fails."""
        return said([CLIENT, *arguments], self.environment, **keywords)


def said(command: list[str], environment: Mapping[str, str], **keywords: object) -> str:
    done = subprocess.run(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        **keywords,  # type: ignore[call-overload]
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:6])} … ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return str(done.stdout)


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """A daemon that keeps everything in `folder`, which is removed at the end. Raises NoEngine."""
    if address := os.environ.get("TEST_DOCKER_HOST"):
        yield Engine.at(address)
        return
    _refuse_if_impossible()
    rules, forwarding = _rules(), FORWARDING.read_text()
    policy = next(rule.split()[2] for rule in rules if rule.startswith("-P FORWARD"))
    socket = folder / "docker.sock"
    settings = {
        "data-root": str(folder / "data"),
        "exec-root": str(folder / "exec"),
        "pidfile": str(folder / "docker.pid"),
        "hosts": [f"unix://{socket}"],
        "bridge": "none",  # builds have the host's network, containers that of their compose project
    }
    (folder / "daemon.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--config-file", str(folder / "daemon.json")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    found = Engine.at(f"unix://{socket}")
    try:
        _wait_until_it_answers(found, daemon, folder / "log")
        _iptables("--policy", "FORWARD", policy)  # Docker shuts it, for everybody else's networks too
        yield found
    finally:
        _stop(found, daemon)
        _remove_mounts(folder)
        shutil.rmtree(folder)
        if not any(rule.startswith("-N DOCKER") for rule in rules):  # else another daemon needs them
            _flush("filter")
            _flush("nat")
            FORWARDING.write_text(forwarding)


def _refuse_if_impossible() -> None:
    if os.geteuid() != 0:
        raise NoEngine("a Docker daemon of one's own needs root")
    for program, package in (("dockerd", "docker.io"), (CLIENT, "docker.io"), ("iptables", "iptables")):
        if shutil.which(program) is None:
            raise NoEngine(f"{program} is not here; on Debian: apt-get install {package}")


def _wait_until_it_answers(found: Engine, daemon: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + START_SECONDS
    while True:
        try:
            found.run("version")
            return
        except RuntimeError:
            if daemon.poll() is not None or time.monotonic() > limit:
                _stop(found, daemon)
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise NoEngine(f"dockerd does not run here:\n{tail}") from None
            time.sleep(0.25)


def _stop(found: Engine, daemon: subprocess.Popen[bytes]) -> None:
    if daemon.poll() is None:
        if containers := found.run("ps", "--all", "--quiet").split():
            found.run("rm", "--force", "--volumes", *containers)
        if networks := found.run("network", "ls", "--filter", "type=custom", "--quiet").split():
            found.run("network", "rm", *networks)
        daemon.send_signal(signal.SIGTERM)
    daemon.wait(STOP_SECONDS)


def _remove_mounts(folder: Path) -> None:
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        if (place := line.split()[1]).startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=True)


def _flush(table: str) -> None:
    """Take Docker's chains out of a table, with every rule that leads to them or names one of its bridges."""
    for rule in _rules(table):
        if rule.startswith("-A") and not rule.startswith("-A DOCKER") and ("DOCKER" in rule or " br-" in rule):
            _iptables("--table", table, "--delete", *rule.split()[1:])
    chains = [rule.split()[1] for rule in _rules(table) if rule.startswith("-N DOCKER")]
    for action in ("--flush", "--delete-chain"):
        for chain in chains:
            _iptables("--table", table, action, chain)


def _rules(table: str = "filter") -> list[str]:
    return subprocess.run(
        ["iptables", "--table", table, "--list-rules"], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def _iptables(*arguments: str) -> None:
    subprocess.run(["iptables", *arguments], check=True, capture_output=True)
