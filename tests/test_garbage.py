"""The collector of garbage stays away from what stays."""

from __future__ import annotations

import gc

import pytest

from llm_eval import garbage


@pytest.mark.parametrize("away", [garbage.paused, garbage.frozen])
def test_nothing_is_collected_inside(away):
    with away():
        assert not gc.isenabled()

    assert gc.isenabled()


@pytest.mark.parametrize("away", [garbage.paused, garbage.frozen])
def test_collecting_stays_off_for_someone_who_had_it_off(away):
    gc.disable()
    try:
        with away():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(("away", "looked_at"), [(garbage.paused, True), (garbage.frozen, False)])
def test_later_collections_leave_out_what_was_made_frozen(away, looked_at):
    with away():
        held = [[]]

    assert any(found is held for found in gc.get_objects()) is looked_at
