"""The most memory that this process has had."""

from __future__ import annotations

import re
import resource
import sys

GIB = 2**30
_KIB = 1024
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_memory_gib() -> float:
    """Peak resident memory of this process since it started, whatever it did before; children are not in it."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            found = _PEAK.search(status.read())
    except OSError:
        found = None
    if found is not None:
        return round(int(found[1]) * _KIB / GIB, 3)
    # Not on Linux, where this figure survives exec and so would count the parent's memory too.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else _KIB) / GIB, 3)
