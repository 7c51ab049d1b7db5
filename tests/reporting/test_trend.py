"""A model over its checkpoints, as a table and as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from llm_eval.comparison import trends
from llm_eval.errors import InputError
from llm_eval.reporting.curves import draw, picture_format
from llm_eval.reporting.trend import sparkline, trend_table
from llm_eval.stages.trend import draw_curves
from tests.builders import House
from tests.comparison.builders import checkpoint, publish, right


def publish_curve(root):
    for number, count in enumerate((100, 160, 165, 120), 1):
        publish(root, right(count, 400), choices=4, **checkpoint(number))
    publish(root, right(30, 60), dataset="arc", **checkpoint(2))


def test_each_checkpoint_stands_with_its_difference_to_the_one_before(tmp_path):
    publish_curve(str(tmp_path))

    text = trend_table(trends(str(tmp_path), "tiny", ("mmlu",)), "tiny")

    lines = text.splitlines()
    assert lines[:3] == ["tiny over its checkpoints", "", "mmlu (accuracy, guessing 25.00)  ▁▇█▃"]
    assert [line.split() for line in lines[5:9]] == [
        ["step-1", "25.00", "±4.2", "400"],
        ["step-2", "40.00", "±4.8", "400", "+15.00", "+11.83", "to", "+18.83", "<0.0001", "<0.0001", "▲"],
        ["step-3", "41.25", "±4.8", "400", "+1.25", "0.00", "to", "+2.89", "0.0625", "0.0625"],
        ["step-4", "30.00", "±4.5", "400", "-11.25", "-14.72", "to", "-8.51", "<0.0001", "<0.0001", "▼"],
    ]


def test_checkpoints_on_different_versions_have_no_difference_and_the_note_says_why(tmp_path):
    publish(str(tmp_path), right(10, 20), **checkpoint(1), dataset_version="old")
    publish(str(tmp_path), right(10, 20), **checkpoint(2), dataset_version="new")

    (found,) = trends(str(tmp_path), "tiny")

    assert [step.change for step in found.steps] == [None, None]
    assert "No difference: the checkpoint before was evaluated on another version" in trend_table([found], "tiny")


def test_holm_s_correction_is_over_the_steps_of_a_dataset(tmp_path):
    publish_curve(str(tmp_path))

    (found,) = trends(str(tmp_path), "tiny", ("mmlu",))

    p_values = [step.change.difference.p_value for step in found.steps[1:]]
    assert [step.p_holm for step in found.steps] == [
        None,
        pytest.approx(3 * p_values[0]),
        pytest.approx(p_values[1]),
        pytest.approx(2 * p_values[2]),
    ]


def test_guessing_is_unknown_where_there_is_nothing_to_choose_from(tmp_path):
    publish(str(tmp_path), right(10, 20), **checkpoint(1))

    assert [found.chance for found in trends(str(tmp_path), "tiny")] == [None]


@pytest.mark.parametrize(("values", "bars"), [([0, 1], "▁█"), ([1, 1, 1], "▁▁▁"), ([0, float("inf")], "")])
def test_sparkline(values, bars):
    assert sparkline(values) == bars


def test_the_picture_is_the_same_for_the_same_results(tmp_path):
    publish_curve(str(tmp_path))
    found = trends(str(tmp_path), "tiny")

    assert draw(found, "tiny", "svg") == draw(found, "tiny", "svg")
    assert draw(found, "tiny", "png")[:8] == b"\x89PNG\r\n\x1a\n"


def test_every_dataset_has_a_panel(tmp_path):
    publish_curve(str(tmp_path))

    picture = ElementTree.fromstring(draw(trends(str(tmp_path), "tiny"), "tiny", "svg"))

    groups = [element.get("id", "") for element in picture.iter("{http://www.w3.org/2000/svg}g")]
    assert [name for name in groups if name.startswith("axes_")] == ["axes_1", "axes_2"]


def test_names_are_never_read_as_formulas(tmp_path):
    publish(str(tmp_path), right(10, 20), **{**checkpoint(1), "checkpoint": "a$b_{$c"})

    draw(trends(str(tmp_path), "tiny"), "tiny", "png")


def test_pictures_go_below_the_root_or_where_they_are_wanted(house: House):
    publish_curve(house.settings.root)
    wanted = str(house.folder / "curves.svg")

    found = trends(house.settings.root, "tiny")

    assert draw_curves(house.settings, "tiny", found) == [
        f"{house.settings.root}/reports/tiny/trend.{end}" for end in ("png", "svg")
    ]
    assert draw_curves(house.settings, "tiny", found, wanted) == [wanted]
    assert (house.folder / "curves.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_a_picture_of_another_kind_is_refused():
    with pytest.raises(InputError, match=r"ends in \.png or \.svg"):
        picture_format("curve.pdf")
