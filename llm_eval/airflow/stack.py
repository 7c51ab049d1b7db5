"""A whole Airflow on this machine, for the demo, the UI and the tests: started, watched, stopped to the last process.

The components of `airflow standalone`, started one by one, and a second API server for the tasks: standalone offers
the logs of all tasks on two ports of every network interface, and leaves its children behind when killed. Here nothing
listens but the API servers, on 127.0.0.1 and free ports, behind a generated password; and all of it ends when this
process does, however. One home belongs to one stack at a time, so a second one beside it (`make demo` while `make up`
runs) takes the next.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

from llm_eval import settings, storage
from llm_eval.airflow.deployment import LOCAL, Deployment
from llm_eval.airflow.environment import LOCK_SECONDS, SEARCH_PATHS, Ports, airflow_settings, own_settings, url
from llm_eval.airflow.home import PASSWORDS_FILE, USER, bury_schedulers, lock_home, password_of
from llm_eval.airflow.processes import Guard, end_sessions
from llm_eval.errors import RunFailed
from llm_eval.remote.address import RUNNING_FILE
from llm_eval.remote.client import AirflowClient

logger = logging.getLogger(__name__)

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server", "--apps", "core"),
    "task-api": ("api-server", "--apps", "execution"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
START_SECONDS = 180.0
LIFE_SECONDS = 60.0  # a component that ends sooner after its start will do so again
TAIL_LINES = 30


@dataclass(frozen=True, slots=True)
class Component:
    name: str
    process: subprocess.Popen[bytes]
    started: float  # by the monotonic clock


class Stack:
    """A context manager: inside, Airflow is healthy and `client` speaks to it; outside, nothing of it runs."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        triggerer: bool = False,
        deployment: Deployment = LOCAL,
        tell: Callable[[str], None] = logger.info,
    ) -> None:
        """`port`: None for any free one. `triggerer`: tells of late runs. `tell`: hears of the progress."""
        self._wanted_home, self._wanted_port, self._tell = home.resolve(), port, tell
        self._deployment = deployment
        self._commands = {**COMPONENTS, **deployment.components()}
        if not triggerer:
            del self._commands["triggerer"]
        self._components: list[Component] = []
        self._lock: IO[str] | None = None
        self._log: IO[bytes] | None = None
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        began = time.monotonic()
        self._lock, self.home = lock_home(self._wanted_home)
        self.password = password_of(self.home / PASSWORDS_FILE)
        self._set_ports(Ports(0, 0))  # whoever prepares the database does not listen
        self._log = (self.home / "standalone.log").open("wb")
        self._guard = Guard(self.environment, self._lock)
        self._tell("Airflow: preparing the database …")
        self._migrate()
        self._tell(f"Airflow: starting {', '.join(self._commands)} …")
        self._bury_schedulers()
        # Chosen late: anybody may take them until our servers listen.
        self._set_ports(Ports(free_port(self._wanted_port), free_port(None)))
        self._components = [self._spawn(name, *command) for name, command in self._commands.items()]
        self._wait_until_healthy()
        self.client = AirflowClient(self.url, USER, self.password)
        self.client.import_pools(json.loads((settings.HOME / "include" / "pools.json").read_text()))
        running = {"url": self.url, "user": USER, "passwords": PASSWORDS_FILE}
        storage.write_json(str(self.home / RUNNING_FILE), running)
        self._tell(f"Airflow: ready after {time.monotonic() - began:.1f} s")

    def _set_ports(self, ports: Ports) -> None:
        """And all that components are told, some of which depends on them."""
        self.url, self._tasks_url = url(ports.api), url(ports.tasks)
        self.environment = {**os.environ, **airflow_settings(self.home, ports, self._deployment)}
        for name, first in SEARCH_PATHS.items():
            self.environment[name] = os.pathsep.join([*map(str, first), *filter(None, [os.environ.get(name)])])
        self._own_settings = own_settings(self.home, ports, self._deployment)

    def _spawn(self, name: str, *arguments: str) -> Component:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", *arguments],
            env={**self.environment, **self._own_settings.get(name, {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its session is how all that it starts is found again
            umask=0o077,
        )
        assert self._guard is not None
        self._guard.watch(process.pid)
        return Component(name, process, time.monotonic())

    def _migrate(self) -> None:
        """Create or upgrade the database; three seconds that a database of this very version is spared."""
        from importlib.metadata import version

        mark = self.home / "migrated"
        if self._own_database.exists() and mark.exists() and mark.read_text() == version("apache-airflow"):
            return
        migration = self._spawn("db migrate", "db", "migrate")
        self._components = [migration]
        if migration.process.wait() != 0:
            raise RunFailed(f"Airflow's database could not be prepared.\n{self.log_tail()}")
        mark.write_text(version("apache-airflow"))

    @property
    def _own_database(self) -> Path:
        """Where SQLite's file is, if the deployment names no other database."""
        return self.home / "airflow.db"

    def _bury_schedulers(self) -> None:
        """Only in the home's own database: another may have other schedulers, so there half a minute is waited."""
        if self._deployment.database is None:
            bury_schedulers(self._own_database, LOCK_SECONDS)

    def _wait_until_healthy(self) -> None:
        needed = ["metadatabase", "scheduler", "dag_processor"]
        limit, told = time.monotonic() + START_SECONDS, time.monotonic()
        while True:
            if (ended := self.first_ended()) is not None:
                raise RunFailed(f"Airflow's {ended} ended while starting.\n{self.log_tail()}")
            missing = [name for name in needed if name not in self._healthy()]
            if not missing:
                return
            if time.monotonic() > limit:
                raise RunFailed(f"Airflow: {', '.join(missing)} not healthy in {START_SECONDS:g} s.\n{self.log_tail()}")
            if time.monotonic() - told > 5:
                told = time.monotonic()
                self._tell(f"Airflow: waiting for {', '.join(missing)} …")
            time.sleep(0.25)

    def _healthy(self) -> set[str]:
        try:
            answer = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5.0, trust_env=False).json()
            # Its first request makes the workers' API build itself for five seconds: better now than in the first task.
            httpx.get(f"{self._tasks_url}/execution/health", timeout=60.0, trust_env=False)
        except (httpx.HTTPError, ValueError):
            return set()
        return {name for name, health in answer.items() if health and health.get("status") == "healthy"}

    def first_ended(self) -> str | None:
        """A component that has ended by itself; None while all of them run."""
        return next((c.name for c in self._components if c.process.poll() is not None), None)

    def revive(self) -> list[str]:
        """Start what has ended by itself again, once nothing is left of what it had started; returns its names.

        Tasks of a scheduler that is gone are ended with it and tried again: the new one could not follow them. Raises
        RunFailed for a component that ended within a minute of its start.
        """
        ended = [component for component in self._components if component.process.poll() is not None]
        for component in ended:
            if (lived := time.monotonic() - component.started) < LIFE_SECONDS:
                raise RunFailed(f"Airflow's {component.name} ended {lived:.0f} s after its start.\n{self.log_tail()}")
        end_sessions({component.process.pid for component in ended})
        for component in ended:
            if component.name == "scheduler":
                self._bury_schedulers()
            place = self._components.index(component)
            self._components[place] = self._spawn(component.name, *self._commands[component.name])
        return [component.name for component in ended]

    def log_tail(self) -> str:
        """The end of the log that all components share, for an error message."""
        path = self.home / "standalone.log"
        lines = path.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"The end of {path}:", *(f"  {line}" for line in lines)])

    def stop(self) -> None:
        """End every process that the stack started, the unwilling ones by force. Raises RunFailed if one survives."""
        if self._components:
            (self.home / RUNNING_FILE).unlink(missing_ok=True)
        alive = end_sessions({component.process.pid for component in self._components})
        for component in self._components:
            component.process.poll()
        self._components = []
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        for file in (self._log, self._lock):
            if file is not None:
                file.close()
        if alive:
            raise RunFailed(f"processes of Airflow are still there: {', '.join(str(p.pid) for p in alive)}")


def free_port(wanted: int | None) -> int:
    """`wanted` if nobody listens there, else any free port of 127.0.0.1."""
    for port in filter(None, (wanted,)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
