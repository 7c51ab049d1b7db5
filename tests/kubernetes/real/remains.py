"""What a cluster leaves on the machine, its control groups and its folder, and how it is removed.

`python -m tests.kubernetes.real.remains` removes those of clusters whose processes are gone; clusters in use stay.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

CONTROL_GROUPS = Path("/sys/fs/cgroup")
PREFIX = "llm-eval-k8s-"
REMOVE_SECONDS = 20.0


def make_folder() -> tuple[Path, IO[str]]:
    """A folder for a new cluster, and its lock, which says that it is in use."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = (folder / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def hierarchies() -> list[Path]:
    """Of control groups: in version 1 one for each controller, in version 2 a single one; or both side by side."""
    mounted = (line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(place) for place, kind in mounted if kind in ("cgroup", "cgroup2") and _is_ours(Path(place))]


def make_control_groups(name: str) -> None:
    """The group that all pods' are below, in every hierarchy; the kubelet wants to find it."""
    for hierarchy in hierarchies():
        (hierarchy / name).mkdir()
        controllers = hierarchy / name / "cgroup.controllers"
        if controllers.exists():  # of version 2: they are handed on one by one
            wanted = " ".join(f"+{controller}" for controller in controllers.read_text().split())
            (hierarchy / name / "cgroup.subtree_control").write_text(wanted)


def control_groups(name: str) -> list[Path]:
    """All that are left of this cluster, the inner ones first."""
    return [Path(place) for top in hierarchies() for place, _, _ in os.walk(top / name, topdown=False)]


def remove(folder: Path) -> None:
    """Remove what a cluster has left, whose processes are gone; a group can go a moment after its last process."""
    limit = time.monotonic() + REMOVE_SECONDS
    for group in control_groups(folder.name):
        while True:
            try:
                group.rmdir()
                break
            except OSError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.1)
    shutil.rmtree(folder)


def abandoned() -> Iterator[Path]:
    """Folders of clusters that nobody holds, because their owner and its guard were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with (folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield folder


def _is_ours(place: Path) -> bool:
    """Others mount control groups of their own, in containers."""
    return place == CONTROL_GROUPS or place.parent == CONTROL_GROUPS


def main() -> int:
    for folder in abandoned():
        remove(folder)
        sys.stdout.write(f"removed {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
