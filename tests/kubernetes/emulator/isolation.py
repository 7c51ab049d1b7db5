"""How far containers can be kept apart on this machine, and what does not work where they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from typing import Literal

# namespaces: as root. user namespaces: as an ordinary user, where the system lets one. none: a plain process.
Isolation = Literal["namespaces", "user namespaces", "none"]
Feature = Literal["mounts", "read-only root", "exec", "users", "host names"]

FEATURES: dict[Isolation, frozenset[Feature]] = {
    "namespaces": frozenset({"mounts", "read-only root", "exec", "users", "host names"}),
    # One user can be mapped, who has any number inside. Further groups, fsGroup among them, cannot.
    "user namespaces": frozenset({"mounts", "read-only root", "exec", "host names"}),
    # No exec on purpose: KPO's sidecar is ended by a `kill` of all processes whose command line has "sh" in it.
    "none": frozenset(),
}


@cache
def best_isolation() -> Isolation:
    if os.geteuid() == 0 and can_isolate("namespaces"):
        return "namespaces"
    return "user namespaces" if can_isolate("user namespaces") else "none"


@cache
def can_isolate(isolation: Isolation) -> bool:
    """By trying: whether it is allowed depends on the kernel, on AppArmor and on the container that we may be in."""
    if isolation == "none":
        return True
    if sys.platform != "linux" or (isolation == "namespaces" and os.geteuid() != 0):
        return False
    user = ["--user", "--map-root-user"] if isolation == "user namespaces" else []
    kinds = ["--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc"]
    try:
        return subprocess.run(["unshare", *user, *kinds, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
