"""A process that ends at once: its exit code, its exit handlers and its output are as always."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT

BEGINNING = """
import atexit, logging, sys, threading, time, types
from llm_eval import ending
class Told:
    def __del__(self): print('taken apart')
told = Told()
atexit.register(print, 'exit handler')
"""
LARGE = "sys.modules['torch'] = types.ModuleType('torch')\n"


def ended(code: str) -> subprocess.CompletedProcess[str]:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", BEGINNING + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, env=buffered, timeout=60)


@pytest.mark.parametrize(("code", "exit_code"), [("None", 0), ("0", 0), ("2", 2), ("143", 143)])
def test_a_large_library_is_not_taken_apart(code, exit_code):
    done = ended(LARGE + f"print('said'); ending.end({code})")

    assert (done.returncode, done.stdout, done.stderr) == (exit_code, "said\nexit handler\n", "")


def test_without_a_large_library_python_ends_as_always():
    done = ended("ending.end(1); print('goes on')")

    assert (done.returncode, done.stdout) == (0, "goes on\nexit handler\ntaken apart\n")


def test_a_thread_that_must_not_be_cut_off_is_waited_for():
    done = ended(
        LARGE + "threading.Thread(target=lambda: (time.sleep(0.5), print('thread'))).start()\n"
        "ending.end(3); raise SystemExit(3)"
    )

    assert (done.returncode, done.stdout.splitlines()[:2]) == (3, ["thread", "exit handler"])


def test_output_that_nobody_reads_is_told_as_always():
    done = ended(LARGE + "import os; print('said'); os.close(1); ending.end(0)")

    assert done.returncode == 120  # of Python itself: flushing stdout failed


def test_log_lines_are_written():
    done = ended(LARGE + "logging.basicConfig(); logging.getLogger('a').warning('kept'); ending.end(1)")

    assert done.stderr == "WARNING:a:kept\n"
