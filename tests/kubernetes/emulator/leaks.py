"""What a cluster has left on this machine: processes of its containers, and mounts that reached the machine itself."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def left_on_the_machine(folder_name: str, sessions: Collection[int]) -> list[str]:
    """In words; nothing is the rule. `folder_name`: the cluster's, which no other has; `sessions`: of its containers.

    Every container has mounted something of the folder, so whoever sees such a mount lives in a container, or beside
    one that has let a mount escape.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            sees_it = folder_name in (process / "mountinfo").read_text()
            is_of_it = os.getsid(int(process.name)) in sessions
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it has just ended, or is none of ours
            continue
        if process.name == str(os.getpid()) and sees_it:
            found.append(f"a mount of {folder_name}")
        elif (sees_it or is_of_it) and command:  # a process without a command line has ended, and waits to be asked
            found.append(f"process {process.name}: {command}")
    return found
