"""The home of a stack: Airflow's database, logs and password. One stack at a time has it; what it left is tidied up."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

import psutil  # type: ignore[import-untyped]

from llm_eval.airflow.processes import END_SECONDS
from llm_eval.errors import RunFailed

USER = "admin"
PASSWORDS_FILE = "passwords.json"


def lock_home(wanted: Path) -> tuple[IO[str], Path]:
    """The first of `wanted`, `wanted-2`, `wanted-3`, … that no other stack is using, and the lock that keeps it.

    The guard of a stack that was killed keeps the lock until it has ended everything: it is waited for.
    """
    for number in range(1, 100):
        home = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (home / "stack.lock").open("a+")
        limit = time.monotonic() + 2 * END_SECONDS
        while not (is_mine := _take(lock)) and not _owner_lives(lock) and time.monotonic() < limit:
            time.sleep(0.1)
        if is_mine:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            return lock, home
        lock.close()
    raise RunFailed(f"{wanted}: a hundred stacks are running from here")


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner_lives(lock: IO[str]) -> bool:
    """Whether the process is there that wrote its id into the lock; one that has not done so yet counts as there."""
    lock.seek(0)
    owner = lock.read()
    return not owner or psutil.pid_exists(int(owner))


def bury_schedulers(database: Path, lock_seconds: float) -> None:
    """Call every scheduler dead that was killed in the middle of its work: a home has one stack at a time.

    Else the next scheduler waits half a minute for a heartbeat of it before it takes over what was left.
    """
    with closing(sqlite3.connect(database, timeout=lock_seconds)) as connection, connection:
        connection.execute("UPDATE job SET state = 'failed' WHERE job_type = 'SchedulerJob' AND state = 'running'")


def password_of(path: Path) -> str:
    """The admin's password, made up on first use; its file is readable for its owner alone, and whole or not there."""
    if not path.exists():
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as file:
            json.dump({USER: secrets.token_urlsafe(12)}, file)
            file.flush()
            with suppress(FileExistsError):  # of two that start at once both have the one's
                os.link(file.name, path)
    password: str = json.loads(path.read_text())[USER]
    return password
