import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT

# Three blocks at a time, as the gates, the activations and the products of a layer are.
SCRIPT = """
import resource
import torch
from llm_eval.backends.transformers.engine.heap import keep_freed_memory

def pages_that_the_kernel_filled():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        blocks = [torch.ones(3_000_000) for _ in range(3)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = pages_that_the_kernel_filled()
keep_freed_memory()
torch.ones(3_000_000)
pages_that_the_kernel_filled()
print(usual, pages_that_the_kernel_filled())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_the_kernel_is_not_asked_for_the_same_memory_again_and_again():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert usual > 10_000
    assert kept < usual / 20
