"""PostgreSQL and Redis of one test or benchmark: Debian's packages, in a temporary folder, on free ports of 127.0.0.1.

They run as the user that their package made where we are root (PostgreSQL refuses root), else as whoever we are, behind
a password, and end with this process, however that happens. What they hold is lost then.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from llm_eval.airflow.processes import Guard
from llm_eval.airflow.stack import free_port

START_SECONDS = 60.0
STOP_SECONDS = 20.0
DATABASE_USER = "airflow"
# Nothing here has to survive a power cut. Airflow's processes hold several connections each.
POSTGRESQL_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class NotInstalled(Exception):
    """A service's package is missing. The message is a reason to skip: it says what to install."""


@contextmanager
def postgresql() -> Iterator[str]:
    """SQLAlchemy's address of an empty database. Raises NotInstalled."""
    initdb, postgres = _program("initdb", "postgresql"), _program("postgres", "postgresql")
    user, password, port = _user("postgres"), secrets.token_hex(16), free_port(None)
    with _folder(user) as folder:
        data, password_file = folder / "data", folder / "password"
        password_file.write_text(password)
        cluster = (f"--pgdata={data}", f"--username={DATABASE_USER}", f"--pwfile={password_file}", "--no-sync")
        text = ("--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256")
        _run([initdb, *cluster, *text], user, folder)
        settings = {**POSTGRESQL_SETTINGS, "port": str(port), "unix_socket_directories": str(folder)}
        command = [postgres, "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
        address = f"{DATABASE_USER}:{password}@127.0.0.1:{port}/postgres"
        # SIGINT ends it at once; at SIGTERM it waits for its clients to leave.
        with _serving(command, user, folder, signal.SIGINT, lambda: _postgresql_answers(address)):
            yield f"postgresql+psycopg2://{address}"


@contextmanager
def redis() -> Iterator[str]:
    """Address of an empty Redis, as Celery takes it for its broker. Raises NotInstalled."""
    server = _program("redis-server", "redis-server")
    user, password, port = _user("redis"), secrets.token_hex(16), free_port(None)
    with _folder(user) as folder:
        (folder / "redis.conf").write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {folder}\nsave ''\nappendonly no\n"
        )
        address = f"redis://:{password}@127.0.0.1:{port}/0"
        command = [server, str(folder / "redis.conf")]
        with _serving(command, user, folder, signal.SIGTERM, lambda: _redis_answers(address)):
            yield address


def _program(name: str, package: str) -> str:
    """Debian keeps PostgreSQL's servers out of PATH, in a folder for each version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which(name, path=os.pathsep.join([*map(str, reversed(versions)), os.environ.get("PATH", "")]))
    if found is None:
        raise NotInstalled(f"{name} is not installed; on Debian: apt-get install {package}")
    return found


def _user(of_package: str) -> str | None:
    return of_package if os.geteuid() == 0 else None


@contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="llm-eval-service-") as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


def _run(command: list[str], user: str | None, folder: Path) -> None:
    log = folder / "log"
    with log.open("wb") as output:
        ended = subprocess.run(command, user=user, group=user, cwd=folder, stdout=output, stderr=output, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{log.read_text(errors='replace')[-2000:]}")


@contextmanager
def _serving(
    command: list[str], user: str | None, folder: Path, ending: signal.Signals, answers: Callable[[], bool]
) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, user=user, group=user, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    guard = Guard(os.environ)
    guard.watch(process.pid)
    try:
        limit = time.monotonic() + START_SECONDS
        while not answers():
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{command[0]} does not answer:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(ending)
        try:
            process.wait(STOP_SECONDS)
        finally:
            guard.close()


def _postgresql_answers(address: str) -> bool:
    import psycopg2

    try:
        psycopg2.connect(f"postgresql://{address}").close()
    except psycopg2.OperationalError:
        return False
    return True


def _redis_answers(address: str) -> bool:
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(address) as client:
            return bool(client.ping())
    except RedisError:
        return False
