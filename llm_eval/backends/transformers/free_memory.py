"""Memory that is still free: of a GPU, or of this machine within the limits of its container."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
_RECLAIMED = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)
_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))  # cgroups 2 and 1


def free_bytes(device: Any) -> int:
    """What a torch device has left. Pages that the kernel would give up (cached files) count as free."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return free_bytes_of_machine()


def free_bytes_of_machine(root: Path = Path("/")) -> int:
    """The least that the kernel and each control group above this process leave free. `root`: of /proc and /sys."""
    said = _AVAILABLE.search(_text(root / "proc" / "meminfo"))
    # Where no kernel says (not on Linux), all that there is.
    machine = int(said[1]) * 1024 if said else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(min([machine, *_free_in_groups(root)]), 0)


def _free_in_groups(root: Path) -> Iterator[int]:
    """Of each group on the way up that has a limit; whichever of its two versions the machine uses."""
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = root / "sys" / "fs" / "cgroup" / controllers
        group = top / path.lstrip("/")
        # A container sees its own group as the top, whatever path it reads in /proc.
        for folder in [group, *group.parents] if group.is_dir() else [top]:
            if folder.is_relative_to(top) and (free := _free_in(folder)) is not None:
                yield free


def _free_in(group: Path) -> int | None:
    for limit_file, usage_file in _FILES:
        limit, usage = _text(group / limit_file).strip(), _text(group / usage_file).strip()
        if limit.isdecimal() and usage.isdecimal():
            reclaimed = _RECLAIMED.findall(_text(group / "memory.stat"))
            return int(limit) - int(usage) + max(map(int, reclaimed), default=0)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:  # not there on this machine, or not for us
        return ""
