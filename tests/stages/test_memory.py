"""Peak memory, of real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT

TAKES_AND_GIVES_BACK = """
from llm_eval.stages.memory import peak_memory_gib
before = peak_memory_gib()
taken = bytearray(b"x") * (512 * 2**20)
del taken
print(before, peak_memory_gib())
"""


def peaks(code: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    return [float(figure) for figure in done.stdout.split()]


def test_memory_that_was_given_back_counts():
    before, after = peaks(TAKES_AND_GIVES_BACK)

    assert after - before == pytest.approx(0.5, abs=0.02)


def test_memory_of_the_parent_does_not_count():
    taken = bytearray(b"x") * (512 * 2**20)

    before, _ = peaks(TAKES_AND_GIVES_BACK)

    assert before < 0.3
    assert len(taken) == 512 * 2**20
