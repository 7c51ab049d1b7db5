"""GPUs shared out between real processes, some of which are killed; the GPUs are names only."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_eval.backends.transformers.leases import lease

HOLD = (
    "import sys; from pathlib import Path; from llm_eval.backends.transformers.leases import lease\n"
    "taken = lease(sys.argv[2:], Path(sys.argv[1]))\n"
    "print(taken.index, taken.others, flush=True)\n"
    "sys.stdin.read()"
)


class Holder:
    """A process that holds a lease until it is killed or let go."""

    def __init__(self, folder, gpus) -> None:
        command = [sys.executable, "-c", HOLD, str(folder), *gpus]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.has = tuple(map(int, self.process.stdout.readline().split()))

    def end(self, number=None) -> None:
        if number is not None:
            self.process.send_signal(number)
        self.process.communicate()


@pytest.fixture
def holder(tmp_path):
    """holder(*gpus): a process that has taken one; all are ended with the test."""
    holders = []

    def start(*gpus) -> Holder:
        holders.append(Holder(tmp_path, gpus))
        return holders[-1]

    yield start
    for one in holders:
        one.end()


def test_processes_on_one_machine_each_get_a_gpu_of_their_own(holder):
    assert [holder("GPU-a", "GPU-b", "GPU-c").has for _ in range(3)] == [(0, 0), (1, 0), (2, 0)]


def test_processes_that_start_at_once_never_get_the_same_one(tmp_path):
    gpus = [f"GPU-{i}" for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        holders = list(pool.map(lambda _: Holder(tmp_path, gpus), range(6)))
    for one in holders:
        one.end()
    assert sorted(one.has for one in holders) == [(i, 0) for i in range(6)]


@pytest.mark.parametrize("way", [None, signal.SIGTERM, signal.SIGKILL])
def test_a_gpu_is_free_again_however_its_process_ends(holder, way):
    first, second = holder("GPU-a", "GPU-b"), holder("GPU-a", "GPU-b")
    first.end(way)
    assert second.has == (1, 0)
    assert holder("GPU-a", "GPU-b").has == (0, 0)


def test_where_all_are_taken_they_are_shared_evenly(holder):
    assert [holder("GPU-a", "GPU-b").has for _ in range(5)] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]


def test_a_gpu_has_one_name_whatever_its_number_in_each_process(holder):
    assert holder("GPU-b").has == (0, 0)
    assert holder("GPU-a", "GPU-b").has == (0, 0)
    assert holder("GPU-b", "GPU-a").has == (0, 1)


def test_a_gpu_released_is_free_for_the_same_process(tmp_path):
    first = lease(["GPU-a"], tmp_path)
    assert lease(["GPU-a"], tmp_path).others == 1
    first.release()
    first.release()
    assert lease(["GPU-a"], tmp_path).others == 0


def test_no_folder_to_lock_in_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="not-here"):
        lease(["GPU-a"], tmp_path / "not-here")


def test_a_link_laid_in_the_way_is_not_followed(tmp_path):
    (tmp_path / "llm-eval-gpu-GPU-a-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        lease(["GPU-a"], tmp_path)
    assert not (tmp_path / "elsewhere").exists()
