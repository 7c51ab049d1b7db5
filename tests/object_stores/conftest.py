"""A real S3 server, and a wire to it that counts requests and can be made to fail.

The server is SeaweedFS (seaweedfs.py). TEST_S3_SERVER chooses another one: `ceph` (ceph.py), or any by its URL, with
keys of its own in TEST_S3_KEYS (`ACCESS_KEY_ID:SECRET_ACCESS_KEY`).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from llm_eval import object_stores
from tests.builders import House
from tests.object_stores.ceph import ceph
from tests.object_stores.seaweedfs import seaweedfs
from tests.object_stores.wire import Wire, wired

SERVER = os.environ.get("TEST_S3_SERVER", "seaweedfs")
KEY, SECRET = os.environ.get("TEST_S3_KEYS", "AKIATESTS:a-secret-that-is-read-nowhere").split(":")


@dataclass(frozen=True)
class Store:
    """A bucket of its own on the server. `root` lies in it; the environment has our clients come by the wire."""

    bucket: str
    wire: Wire
    server: Any
    """A client of the server itself, beside the wire."""

    @property
    def root(self) -> str:
        return f"s3://{self.bucket}/evals"

    def house(self, house: House) -> House:
        """The same house with its root on this store."""
        house.settings = house.settings.with_root(self.root)
        return house

    def put(self, key: str, text: str) -> None:
        """As another program would."""
        self.server.put_object(Bucket=self.bucket, Key=f"evals/{key}", Body=text.encode())


def serving() -> AbstractContextManager[str]:
    """The server's address, inside."""
    own = {"seaweedfs": seaweedfs, "ceph": ceph}.get(SERVER)
    return own(KEY, SECRET) if own else nullcontext(SERVER)


def forget_clients() -> None:
    """What a process does not do in its life: look at the environment again."""
    import s3fs

    object_stores._s3_of.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    from botocore.session import get_session

    with serving() as address:
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        yield get_session().create_client("s3", endpoint_url=address, **keys)


@pytest.fixture
def store(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    bucket = f"evals-{uuid.uuid4().hex[:12]}"
    s3_server.create_bucket(Bucket=bucket)
    with wired(s3_server.meta.endpoint_url) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL", wire.address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        forget_clients()
        yield Store(bucket, wire, s3_server)
    forget_clients()
