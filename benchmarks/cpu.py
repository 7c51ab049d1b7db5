"""CPU and wall seconds and peak memory of a whole command, from outside: min, median and max over several runs.

    python benchmarks/cpu.py [-n 5] -- llm-eval --help

CPU is user + system time of the command and every child it waited for. Wall seconds on a shared machine say little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time


def measure(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak resident MiB (of the largest single process) of one run."""
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {process.returncode}:\n{errors.decode(errors='replace')[-2000:]}")
    return used.ru_utime + used.ru_stime, time.monotonic() - started, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5, help="counted runs, after one that is not counted")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    measure(arguments.command)
    runs = [measure(arguments.command) for _ in range(arguments.n)]
    for name, values in zip(("cpu s", "wall s", "peak MiB"), zip(*runs, strict=True), strict=True):
        shown = f"{min(values):8.2f} {statistics.median(values):8.2f} {max(values):8.2f}"
        print(f"{name:9} min, median, max of {arguments.n}: {shown}")


if __name__ == "__main__":
    main()
