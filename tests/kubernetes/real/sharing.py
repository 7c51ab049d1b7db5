"""Lets the user that pods run as work in a folder of ours, whatever umask its files are made with."""

from __future__ import annotations

import os
import struct
from pathlib import Path

POD_USER = 1000  # include/pod_template.yaml
_VERSION, _NOBODY = 2, 0xFFFFFFFF  # linux/posix_acl_xattr.h
_READ, _WRITE, _ENTER = 4, 2, 1
_OWNER, _USER, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20


def share(folder: Path, user: int = POD_USER) -> None:
    """Access-control lists of the empty folder: whatever comes into it is the user's too. Airflow's umask is 077."""
    full = _READ | _WRITE | _ENTER
    entries = [(_OWNER, full, _NOBODY), (_USER, full, user), (_GROUP, 0, _NOBODY), (_MASK, full, _NOBODY)]
    packed = b"".join(struct.pack("<HHI", *entry) for entry in [*entries, (_OTHERS, 0, _NOBODY)])
    for name in ("system.posix_acl_access", "system.posix_acl_default"):
        os.setxattr(folder, name, struct.pack("<I", _VERSION) + packed)
