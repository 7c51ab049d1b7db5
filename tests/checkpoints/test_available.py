"""Which folders below a training's folder are checkpoints, in which order, and which one a run is about."""

import os
import time
from datetime import UTC, datetime

import pytest

from llm_eval.checkpoints import Registry, available, choose, discover
from llm_eval.errors import MissingWeights, UnknownName
from tests.checkpoints.conftest import WEIGHTS


def names(model, house) -> list[str]:
    return [checkpoint.name for checkpoint in available(model, house.settings)]


def test_whole_models_and_adapters_are_checkpoints_in_the_order_they_were_written(house, trained, training):
    training("step-30", 300)
    training("step-20", 200, "adapter_config.json")
    training("step-10", 100, "adapter_config.json")
    assert names(trained, house) == ["step-10", "step-20", "step-30"]


def test_folders_written_in_one_second_are_ordered_by_their_numbers_and_registered_a_second_apart(
    house, trained, training
):
    training("step-1000", 7)
    training("step-900", 7)
    assert names(trained, house) == ["step-900", "step-1000"]

    discover(trained, house.settings)

    at = [(c.name, datetime.fromisoformat(c.created_at).timestamp()) for c in available(trained, house.settings)]
    assert at == [("step-900", 7), ("step-1000", 8)]


@pytest.mark.parametrize("weights", [None, WEIGHTS[:-1], b""])
def test_a_folder_whose_weights_are_still_being_written_is_not_a_checkpoint_yet(house, trained, training, weights):
    training("step-10", 1)
    training("step-20", 2, weights=weights)
    training("other", 3)
    assert names(trained, house) == ["step-10"]
    training("step-20", 2)
    assert names(trained, house) == ["step-10", "step-20"]


def test_a_folder_that_lacks_a_part_its_index_names_is_not_a_checkpoint_yet(house, trained, training):
    folder = training("step-10", 1, weights=None)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"weight": "model-1.safetensors"}}')
    os.utime(folder / "model.safetensors.index.json", (1, 1))
    assert names(trained, house) == []
    (folder / "model-1.safetensors").write_bytes(WEIGHTS)
    for path in (folder / "model-1.safetensors", folder):
        os.utime(path, (1, 1))
    assert names(trained, house) == ["step-10"]


def test_a_folder_that_was_just_written_into_waits_until_it_is_settled(house, trained, training):
    now = int(time.time())
    training("step-10", now - 10)
    later = datetime.fromtimestamp(now + 25, UTC)
    assert [c.name for c in available(trained, house.settings)] == []
    assert [c.name for c in available(trained, house.settings, later)] == ["step-10"]


def test_the_newest_is_chosen_unless_another_is_named(house, trained, training):
    training("step-10", 1)
    training("step-20", 2, "adapter_config.json")
    assert choose(trained, None, house.settings).name == "step-20"
    assert choose(trained, "step-10", house.settings).name == "step-10"
    with pytest.raises(UnknownName, match=r"'step-30' is not known.*llm-eval checkpoint register trained PATH"):
        choose(trained, "step-30", house.settings)


def test_none_at_all_says_what_was_looked_for(house, trained, training):
    training("other", 1)
    with pytest.raises(MissingWeights, match=r"no checkpoint yet: no complete folder matches 'training/step-\*'"):
        choose(trained, None, house.settings)


def test_looking_writes_nothing_and_discovering_registers_what_is_new_once(house, trained, training):
    training("step-10", 1)
    assert names(trained, house) == ["step-10"]
    assert Registry.of(house.settings.root, "trained").entries() == []

    assert [c.name for c in discover(trained, house.settings)] == ["step-10"]
    training("step-20", 2)
    assert [c.name for c in discover(trained, house.settings)] == ["step-20"]
    assert discover(trained, house.settings) == []


def test_what_is_registered_stays_when_its_folder_is_moved_away(house, trained, training):
    folder = training("step-10", 1)
    discover(trained, house.settings)
    folder.parent.rename(folder.parent.with_name("elsewhere"))
    assert names(trained, house) == ["step-10"]
