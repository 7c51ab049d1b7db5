"""A real S3 server in a process of its own, and a wire to it that counts requests and can be made to fail."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from llm_eval import object_stores
from tests.builders import House
from tests.object_stores.wire import Wire, wired

# It ends when its standard input does: also when the tests are killed.
SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.read()
"""
SECRET = "a-secret-that-is-read-nowhere"


@dataclass(frozen=True)
class Store:
    """A bucket of its own on the server. `root` lies in it; the environment has clients come by the wire."""

    server: str
    bucket: str
    wire: Wire

    @property
    def root(self) -> str:
        return f"s3://{self.bucket}/evals"

    def house(self, house: House) -> House:
        """The same house with its root on this store."""
        house.settings = house.settings.with_root(self.root)
        return house


@contextmanager
def serving() -> Iterator[str]:
    command = [sys.executable, "-c", SERVE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def ask(server: str, method: str, path: str, body: str = "") -> int:
    """Status of a plain request: moto answers without a signature."""
    connection = HTTPConnection(urlsplit(server).netloc, timeout=30)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


def forget_clients() -> None:
    """What a process does not do in its life: look at the environment again."""
    import s3fs

    object_stores._s3_of.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with serving() as server:
        yield server


@pytest.fixture
def store(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    bucket = f"evals-{uuid.uuid4().hex[:12]}"
    assert ask(s3_server, "PUT", f"/{bucket}") == 200
    with wired(s3_server) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL", wire.address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTS")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        forget_clients()
        yield Store(s3_server, bucket, wire)
    forget_clients()
