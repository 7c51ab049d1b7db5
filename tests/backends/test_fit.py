"""Memory that is free, and weights that do not fit it. The limits are of a pretended /proc and /sys."""

import json

import pytest
import torch

from llm_eval.backends.places import Place
from llm_eval.backends.transformers import fit, loading
from llm_eval.backends.transformers.fit import needed_bytes
from llm_eval.backends.transformers.free_memory import free_bytes, free_bytes_of_machine
from llm_eval.errors import InputError

KIB, GIB = 1024, 1 << 30


@pytest.fixture
def machine(tmp_path):
    """machine(group, available, files): a root with so many bytes available, this process's group, and files."""

    def made(group: str, available: int, files: dict[str, object]):
        files = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {available // KIB} kB\n", **files}
        for name, text in {"proc/self/cgroup": group, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))
        return tmp_path

    return made


def test_without_a_limit_it_is_what_the_kernel_calls_available(machine):
    assert free_bytes_of_machine(machine("0::/user\n", 8 * GIB, {"sys/fs/cgroup/user/memory.max": "max"})) == 8 * GIB


def test_a_containers_limit_counts_without_the_files_it_caches(machine):
    own = {
        "sys/fs/cgroup/memory.max": 4 * GIB,
        "sys/fs/cgroup/memory.current": 3 * GIB,
        "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB}\n",
    }
    assert free_bytes_of_machine(machine("0::/\n", 8 * GIB, own)) == 2 * GIB


def test_a_container_that_reads_its_hosts_path_sees_its_own_limit_at_the_top(machine):
    own = {"sys/fs/cgroup/memory.max": 4 * GIB, "sys/fs/cgroup/memory.current": 3 * GIB}
    assert free_bytes_of_machine(machine("0::/kubepods/pod1\n", 8 * GIB, own)) == GIB


def test_the_tightest_of_the_groups_above_counts(machine):
    groups = {
        "sys/fs/cgroup/a/memory.max": 3 * GIB,
        "sys/fs/cgroup/a/memory.current": GIB,
        "sys/fs/cgroup/a/b/memory.max": 6 * GIB,
        "sys/fs/cgroup/a/b/memory.current": GIB,
    }
    assert free_bytes_of_machine(machine("0::/a/b\n", 8 * GIB, groups)) == 2 * GIB


def test_the_older_kind_of_group_counts_too(machine):
    group = "sys/fs/cgroup/memory/job"
    own = {
        f"{group}/memory.limit_in_bytes": 4 * GIB,
        f"{group}/memory.usage_in_bytes": 3 * GIB,
        f"{group}/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
    }
    assert free_bytes_of_machine(machine("5:cpu:/\n4:memory:/job\n", 8 * GIB, own)) == 2 * GIB


def test_more_used_than_allowed_leaves_nothing(machine):
    own = {"sys/fs/cgroup/memory.max": GIB, "sys/fs/cgroup/memory.current": 2 * GIB}
    assert free_bytes_of_machine(machine("0::/\n", 8 * GIB, own)) == 0


def test_this_machine_has_some(machine):
    assert free_bytes(torch.device("cpu")) > 0


def numbers_of(loaded) -> int:
    return sum(p.numel() for p in loaded.model.parameters())


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("float16", 2), (None, 4)])
def test_weights_need_what_they_take_once_loaded(models, spec, settings, dtype, size):
    numbers = numbers_of(loading.load(spec("llama"), None, settings))
    assert needed_bytes(Place.at(models / "llama"), dtype, "float32", "it") == size * numbers


def test_an_older_weight_file_is_taken_to_hold_what_the_config_says(copy_of):
    folder = copy_of("llama")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x" * 1000)
    wanted = {
        ("float32", "bfloat16"): 2000,
        ("bfloat16", "bfloat16"): 1000,
        (None, None): 1000,
        ("float16", None): 1000,
    }
    assert {key: needed_bytes(Place.at(folder), *key, "it") for key in wanted} == wanted


def test_weights_too_big_for_the_memory_are_refused_with_figures_before_they_are_loaded(
    spec, settings, copy_of, monkeypatch
):
    folder = copy_of("llama")
    header = {"model.embed_tokens.weight": {"dtype": "BF16", "shape": [3 * GIB], "data_offsets": [0, 6 * GIB]}}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 6 * GIB)  # no disk is taken
    monkeypatch.setattr(fit, "free_bytes", lambda device: 5 * GIB)
    for dtype, needed in (("float32", "12.0 GiB as float32"), ("bfloat16", "6.0 GiB as bfloat16")):
        with pytest.raises(
            InputError, match=rf"model 'tiny': .* take {needed}, and this machine has 5.0 GiB free. Choose"
        ):
            loading.load(spec(folder, dtype=dtype), None, settings)
