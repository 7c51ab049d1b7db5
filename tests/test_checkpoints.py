"""Which folders below a training's folder are checkpoints, and in which order."""

import os

import pytest

from llm_eval.checkpoints import available, choose
from llm_eval.errors import MissingWeights, UnknownName
from llm_eval.specs import ModelSpec

BACKEND = {"kind": "transformers", "path": "base"}


@pytest.fixture
def model(house):
    """model(*(folder, file, seconds)): a model whose training has left these files at these times."""

    def made(*files) -> ModelSpec:
        for name, file, seconds in files:
            folder = house.folder / "models" / "training" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text("{}")
            os.utime(folder / file, (seconds, seconds))
        checkpoints = {"kind": "folders", "path": "training", "pattern": "step-*"}
        house.model(name="trained", backend=BACKEND, checkpoints=checkpoints)
        return house.catalog.model("trained")

    return made


def names(model, house) -> list[str]:
    return [checkpoint.name for checkpoint in available(model, house.settings)]


def test_whole_models_and_adapters_are_checkpoints_in_the_order_they_were_written(house, model):
    trained = model(
        ("step-30", "config.json", 300),
        ("step-20", "adapter_config.json", 200),
        ("step-10", "adapter_config.json", 100),
    )
    assert names(trained, house) == ["step-10", "step-20", "step-30"]


def test_folders_written_in_one_second_are_ordered_by_their_numbers(house, model):
    trained = model(("step-1000", "adapter_config.json", 7), ("step-900", "adapter_config.json", 7))
    assert names(trained, house) == ["step-900", "step-1000"]


def test_a_folder_without_a_config_is_not_a_checkpoint_yet(house, model):
    trained = model(("step-10", "config.json", 1), ("step-20", "optimizer.pt", 2), ("other", "config.json", 3))
    assert names(trained, house) == ["step-10"]


def test_the_newest_is_chosen_unless_another_is_named(house, model):
    trained = model(("step-10", "config.json", 1), ("step-20", "adapter_config.json", 2))
    assert choose(trained, None, house.settings).name == "step-20"
    assert choose(trained, "step-10", house.settings).name == "step-10"
    with pytest.raises(UnknownName, match="'step-30' is not known"):
        choose(trained, "step-30", house.settings)


def test_none_at_all_says_what_was_looked_for(house, model):
    trained = model(("other", "config.json", 1))
    with pytest.raises(MissingWeights, match=r"no folder with a config.json or adapter_config.json matches 'training"):
        choose(trained, None, house.settings)
