"""A whole Airflow on this machine, for the demo, the UI and the tests: started, watched, stopped to the last process.

The same components as `airflow standalone`, started one by one: standalone offers the logs of all tasks on two ports
of every network interface, and leaves its children behind when it is killed. Here nothing listens but the API server,
on 127.0.0.1 and a free port, behind a generated password; and all of it ends when this process does, however.
One home belongs to one stack at a time, so a second one beside it (`make demo` while `make up` runs) takes the next.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
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

from llm_eval import settings
from llm_eval.airflow.processes import Guard, end_sessions
from llm_eval.errors import RunFailed
from llm_eval.remote.address import RUNNING_FILE
from llm_eval.remote.client import AirflowClient

logger = logging.getLogger(__name__)

USER = "admin"
PASSWORDS_FILE = "passwords.json"
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
SEARCH_PATHS: Mapping[str, tuple[Path, ...]] = {
    "PATH": (Path(sys.executable).parent,),
    "PYTHONPATH": (settings.HOME, settings.HOME / "include" / "airflow"),
}
START_SECONDS = 180.0
LOCK_SECONDS = 30  # how long a busy machine's processes wait for SQLite's lock; its default of 5 is soon over
TAIL_LINES = 30
TALKATIVE = ("airflow.models.dag", "airflow.serialization.definitions.dag")  # a line for each DAG in every cycle


def airflow_settings(home: Path, port: int) -> dict[str, str]:
    """Everything that Airflow is told, as environment variables.

    `parallelism` stays at its default: a smaller one makes the scheduler burn time over a backlog. Pools bound what
    runs at once; the default one here by the cores, as a model on the CPU fills one.
    """
    url = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.HOME / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(settings.HOME / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": str(max(2, os.cpu_count() or 1)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS_FILE),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout={LOCK_SECONDS}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        # With the default of 1 s a run of seven tasks waits seven seconds for nothing.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        # A thousand DAGs take the DAG processor some 27 CPU seconds a cycle: with the default of 30 s a core for ever.
        # A changed catalog file is seen within a minute; new checkpoints do not wait for this.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "120",
        "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "180",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": ",".join(f"{name}=WARNING" for name in TALKATIVE),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "GX_ANALYTICS_ENABLED": "false",
        "TOKENIZERS_PARALLELISM": "false",
    }


@dataclass(frozen=True, slots=True)
class Component:
    name: str
    process: subprocess.Popen[bytes]


class Stack:
    """A context manager: inside, Airflow is healthy and `client` speaks to it; outside, nothing of it runs."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        triggerer: bool = False,
        tell: Callable[[str], None] = logger.info,
    ) -> None:
        """`port`: None for any free one. `triggerer`: only deferred tasks need one. `tell`: hears of the progress."""
        self._wanted_home, self._wanted_port, self._tell = home.resolve(), port, tell
        self._names = [name for name in COMPONENTS if triggerer or name != "triggerer"]
        self._components: list[Component] = []
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
        port = free_port(self._wanted_port)
        self.url = f"http://127.0.0.1:{port}"
        self.password = password_of(self.home / PASSWORDS_FILE)
        self.environment = {**os.environ, **airflow_settings(self.home, port)}
        for name, first in SEARCH_PATHS.items():
            self.environment[name] = os.pathsep.join([*map(str, first), *filter(None, [os.environ.get(name)])])
        self._log = (self.home / "standalone.log").open("wb")
        self._guard = Guard(self.environment)
        self._tell("Airflow: preparing the database …")
        self._migrate()
        self._tell(f"Airflow: starting {', '.join(self._names)} …")
        self._components = [self._spawn(name, *COMPONENTS[name]) for name in self._names]
        self._wait_until_healthy()
        self.client = AirflowClient(self.url, USER, self.password)
        self.client.import_pools(json.loads((settings.HOME / "include" / "pools.json").read_text()))
        running = {"url": self.url, "user": USER, "passwords": PASSWORDS_FILE}
        (self.home / RUNNING_FILE).write_text(json.dumps(running))
        self._tell(f"Airflow: ready after {time.monotonic() - began:.1f} s")

    def _spawn(self, name: str, *arguments: str) -> Component:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its session is how all that it starts is found again
            umask=0o077,
        )
        assert self._guard is not None
        self._guard.watch(process.pid)
        return Component(name, process)

    def _migrate(self) -> None:
        """Create or upgrade the database; three seconds that a database of this very version is spared."""
        from importlib.metadata import version

        mark = self.home / "migrated"
        if (self.home / "airflow.db").exists() and mark.exists() and mark.read_text() == version("apache-airflow"):
            return
        migration = self._spawn("db migrate", "db", "migrate")
        self._components = [migration]
        if migration.process.wait() != 0:
            raise RunFailed(f"Airflow's database could not be prepared.\n{self.log_tail()}")
        mark.write_text(version("apache-airflow"))

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
            httpx.get(f"{self.url}/execution/health", timeout=60.0, trust_env=False)
        except (httpx.HTTPError, ValueError):
            return set()
        return {name for name, health in answer.items() if health and health.get("status") == "healthy"}

    def first_ended(self) -> str | None:
        """A component that has ended by itself; None while all of them run."""
        return next((c.name for c in self._components if c.process.poll() is not None), None)

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
        if self._log is not None:
            self._log.close()
        if alive:
            raise RunFailed(f"processes of Airflow are still there: {', '.join(str(p.pid) for p in alive)}")


def lock_home(wanted: Path) -> tuple[IO[str], Path]:
    """The first of `wanted`, `wanted-2`, `wanted-3`, … that no other stack is using, and the lock that keeps it."""
    for number in range(1, 100):
        home = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (home / "stack.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return lock, home
    raise RunFailed(f"{wanted}: a hundred stacks are running from here")


def free_port(wanted: int | None) -> int:
    """`wanted` if nobody listens there, else any free port of 127.0.0.1."""
    for port in filter(None, (wanted,)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def password_of(path: Path) -> str:
    """The admin's password, made up on first use; its file is readable for its owner alone."""
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({USER: secrets.token_urlsafe(12)}, file)
    password: str = json.loads(path.read_text())[USER]
    return password
