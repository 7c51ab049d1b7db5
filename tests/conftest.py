"""Fixtures for everybody; nothing here imports a heavy package."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.builders import House

CHECKOUT = Path(__file__).resolve().parent.parent
SOON_SECONDS = 20
"""For an end that was asked for: enough on a busy machine, and long before what is ended would end by itself."""

# Where the real benchmark files are, in a variable of the tests' own, which pytest-xdist's workers inherit; apart from
# that, a developer's settings must not reach a test.
_default = os.environ.get("LLM_EVAL_DATASETS") or str(CHECKOUT.parent / "shared" / "datasets")
BENCHMARKS = Path(os.environ.setdefault("BENCHMARK_FILES", _default))
KEPT = ("LLM_EVAL_TEST_", "LLM_EVAL_K8S_")  # they say which cluster the tests run on, and what
for _name in [name for name in os.environ if name.startswith("LLM_EVAL_") and not name.startswith(KEPT)]:
    del os.environ[_name]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The models are tiny, and the workers of pytest-xdist share the cores: with a thread per core each, threads mostly wait
# for threads, and the tests of the engine take fourteen times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts what it puts in the background with Ctrl-C ignored, and the processes that tests start inherit it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture(scope="session")
def benchmark_files() -> Path:
    """The folder of real benchmark files; the test is skipped where there is none."""
    if not (BENCHMARKS / "mmlu").is_dir():
        pytest.skip(f"real benchmark files are not at {BENCHMARKS}; LLM_EVAL_DATASETS names their folder")
    return BENCHMARKS
