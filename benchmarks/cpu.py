"""CPU and wall seconds and peak memory of a whole command, from outside: min, median and max over several runs.

    python benchmarks/cpu.py [-n 5] -- llm-eval --help

CPU is user + system time of the command and every child it waited for. Wall seconds on a shared machine say little.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Cost(NamedTuple):
    """What one run took; peak memory is the resident set of the largest single process."""

    cpu_seconds: float
    wall_seconds: float
    peak_mib: float


def measure(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    output: Path | None = None,
) -> Cost:
    """Cost of one run of a whole command, run in `folder`, what it prints kept in the file `output` if there is one.

    A new process starts with its parent's resident set as its peak, so whoever calls this imports nothing large.
    """
    started = time.monotonic()
    with (
        open(output or os.devnull, "wb") as kept,
        subprocess.Popen(command, stdout=kept, stderr=subprocess.PIPE, env=environment, cwd=folder) as process,
    ):
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {process.returncode}:\n{errors.decode(errors='replace')[-2000:]}")
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - started, used.ru_maxrss / 1024)


def measure_call(work: Callable[[], T]) -> tuple[T, Cost]:
    """What `work` gives back, and its cost within this process; the peak is that of the process since its start."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    result = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result, Cost(cpu, time.monotonic() - started, after.ru_maxrss / 1024)


def spreads(runs: Sequence[Cost]) -> list[str]:
    """A line for each of CPU seconds, wall seconds and peak memory: its min, median and max over `runs`."""
    lines = []
    for name, values in zip(("cpu s", "wall s", "peak MiB"), zip(*runs, strict=True), strict=True):
        shown = f"{min(values):8.2f} {statistics.median(values):8.2f} {max(values):8.2f}"
        lines.append(f"{name:9} min, median, max of {len(runs)}: {shown}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5, help="counted runs, after one that is not counted")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    measure(arguments.command)
    print(*spreads([measure(arguments.command) for _ in range(arguments.n)]), sep="\n")


if __name__ == "__main__":
    main()
