"""Which device a process takes. The GPUs are pretended; the leases are real."""

import logging
import tempfile
from types import SimpleNamespace

import pytest
import torch

from llm_eval.backends.transformers import devices
from llm_eval.errors import InputError


@pytest.fixture
def take(spec, tmp_path, monkeypatch):
    """take(**backend): the device of one more evaluation on a machine with two GPUs; leases end with the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=f"GPU-{number}"))
    taken = []

    def chosen(**backend):
        taken.append(devices.chosen(spec("llama", **{"device": "auto", **backend}).backend, "model 'tiny'"))
        return taken[-1]

    yield chosen
    for device in taken:
        if device.lease is not None:
            device.lease.release()


def test_auto_takes_a_free_gpu_and_shares_one_with_a_warning_when_there_is_none(take, caplog):
    with caplog.at_level(logging.INFO):
        assert [take().name for _ in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING"]
    assert "every GPU that this process may use (0, 1) is taken: sharing cuda:0 with 1 other" in caplog.text


def test_a_gpu_that_was_named_is_taken_too(take):
    assert take(device="cuda").name == "cuda:0"
    assert take().name == "cuda:1"


def test_a_gpu_released_is_taken_again(take):
    take().lease.release()
    assert take().name == "cuda:0"


def test_the_cpu_and_a_device_map_take_none(take):
    assert take(device="cpu") == ("cpu", None)
    assert take(device_map="balanced") == (None, None)
    assert take().lease.others == 0


def test_a_number_too_high_is_refused(take):
    with pytest.raises(InputError, match=r"model 'tiny': backend.device is 'cuda:2', but torch .* sees 2 CUDA device"):
        take(device="cuda:2")


def test_where_nothing_can_be_locked_the_first_is_used_with_a_warning(take, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not-here"))
    with caplog.at_level(logging.WARNING):
        assert take() == ("cuda:0", None)
    assert "GPUs cannot be shared out between processes" in caplog.text
