"""Folders that a training could have left."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_eval.specs import ModelSpec
from tests.builders import House

BACKEND = {"kind": "transformers", "path": "base"}
HEADER = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER + bytes(8)


@pytest.fixture
def training(house: House) -> Callable[..., Path]:
    """training(name, seconds, config="config.json", weights=WEIGHTS): a checkpoint's folder, written at that time."""

    def write(name: str, seconds: int, config: str = "config.json", weights: bytes | None = WEIGHTS) -> Path:
        folder = house.folder / "models" / "training" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / config).write_text("{}")
        if weights is not None:
            (folder / ("model.safetensors" if config == "config.json" else "adapter_model.safetensors")).write_bytes(
                weights
            )
        for path in (*folder.iterdir(), folder):
            os.utime(path, (seconds, seconds))
        return folder

    return write


@pytest.fixture
def trained(house: House) -> ModelSpec:
    """A model whose checkpoints are folders of a training."""
    checkpoints = {"kind": "folders", "path": "training", "pattern": "step-*"}
    house.model(name="trained", backend=BACKEND, checkpoints=checkpoints)
    return house.catalog.model("trained")


@pytest.fixture
def registered(house: House) -> ModelSpec:
    """A model whose checkpoints are registered by hand."""
    house.model(name="registered", backend=BACKEND, checkpoints={"kind": "registry"})
    return house.catalog.model("registered")
