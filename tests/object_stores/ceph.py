"""Ceph's S3 gateway with one monitor and one disk in memory, from Debian's packages: an S3 server that people rely on.

`apt-get install --no-install-recommends ceph-mon ceph-osd radosgw`; TEST_S3_SERVER=ceph has the tests run on it. Ready
after some 15 s; its conditional puts are atomic, it checks signatures, and its errors are its own.
"""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.object_stores.local import READY_SECONDS, free_ports, served, wait_for

CONFIGURATION = """
[global]
fsid = {fsid}
mon host = {monitor}
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
keyring = {folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
"""
ALL = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
CAPABILITIES = {
    "mon.": ("--cap", "mon", "allow *"),
    "client.admin": ALL,
    "client.rgw": ALL,
    "osd.0": ("--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"),
}


@contextmanager
def ceph(access_key: str, secret: str) -> Iterator[str]:
    """The gateway's address, with one user of these keys."""
    with tempfile.TemporaryDirectory(prefix="ceph-") as name, ExitStack() as services:
        folder, disk = Path(name), str(uuid.uuid4())
        gateway = _prepare(folder)

        def do(*command: str) -> None:
            line = [command[0], "-c", str(folder / "ceph.conf"), *command[1:]]
            subprocess.run(line, check=True, timeout=READY_SECONDS, capture_output=True)

        def serve(*command: str) -> None:
            services.enter_context(served(command[0], "-f", "-c", str(folder / "ceph.conf"), *command[1:]))

        keyring = str(folder / "keyring")
        do("ceph-mon", "-i", "a", "--mkfs", "--monmap", str(folder / "monmap"), "--keyring", keyring)
        serve("ceph-mon", "-i", "a", "--keyring", keyring)
        do("ceph", "osd", "new", disk, "0")
        do("ceph", "auth", "import", "-i", keyring)
        do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        serve("ceph-osd", "-i", "0")
        do("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=local")
        user = ("--uid=tests", "--display-name=tests", f"--access-key={access_key}", f"--secret={secret}")
        do("radosgw-admin", "user", "create", *user)
        serve("radosgw", "-n", "client.rgw")
        wait_for(gateway)
        yield gateway


def _prepare(folder: Path) -> str:
    """Writes configuration, keys and the map of monitors; the address that the gateway will have."""
    port, first, second = free_ports(3)
    monitor, fsid = f"[v2:127.0.0.1:{first},v1:127.0.0.1:{second}]", str(uuid.uuid4())
    for part in ("mon", "osd", "rgw"):
        (folder / part).mkdir()
    words = {"fsid": fsid, "monitor": monitor, "folder": folder, "port": port}
    (folder / "ceph.conf").write_text(CONFIGURATION.format(**words))
    making = ["monmaptool", "--create", "--fsid", fsid, "--addv", "a", monitor, str(folder / "monmap")]
    subprocess.run(making, check=True, capture_output=True)
    for name, capabilities in CAPABILITIES.items():
        create = [] if (folder / "keyring").exists() else ["--create-keyring"]
        key = ["ceph-authtool", *create, str(folder / "keyring"), "--gen-key", "-n", name, *capabilities]
        subprocess.run(key, check=True, capture_output=True)
    (folder / "rgw" / "keyring").write_bytes((folder / "keyring").read_bytes())  # where the gateway looks
    return f"http://127.0.0.1:{port}"
