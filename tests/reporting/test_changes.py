import json
import math

import pytest

from llm_eval.reporting import leaderboard_files
from llm_eval.reporting.changes import changes, rows_of
from llm_eval.specs import SuiteSpec
from tests.reporting.builders import result

SUITE = SuiteSpec(name="nightly", models=("tiny", "big"), datasets=("mmlu",))
BITS = {"unit": "bits_per_byte", "higher_is_better": False}


def tiny(value, checkpoint="step-1", **fields):
    return result(value, model="tiny", checkpoint=checkpoint, checkpoint_created_at="2026-01-01T00:00:00", **fields)


def big(value, **fields):
    return result(value, model="big", run_id="run-2", **fields)


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ([], [tiny(0.5)], ["mmlu (accuracy): tiny@step-1 50.00, new"]),
        ([tiny(0.5)], [tiny(0.5)], []),
        (
            [tiny(0.5)],
            [tiny(0.5), big(0.4)],
            ["mmlu (accuracy): big 40.00, new, place 2 of 2"],
        ),
        (
            [tiny(0.5), big(0.4)],
            [tiny(0.5), big(0.6)],
            [
                "mmlu (accuracy): big 60.00, before 40.00 (+20.00), leads now, before tiny",
                "mmlu (accuracy): tiny@step-1 50.00, place 2 of 2, before 1",
            ],
        ),
        (
            [tiny(0.5), big(0.4)],
            [tiny(0.45, checkpoint="step-2"), big(0.4)],
            ["mmlu (accuracy): tiny@step-2 45.00, before 50.00 (-5.00), place 1 of 2"],
        ),
        ([tiny(0.5)], [tiny(0.5), big(0.9, sample_limit=10)], []),
        ([tiny(0.5)], [tiny(0.5), big(math.inf)], []),
        (
            [
                tiny(3.0, unit="bits_per_byte", higher_is_better=False),
                big(2.0, unit="bits_per_byte", higher_is_better=False),
            ],
            [
                tiny(1.0, unit="bits_per_byte", higher_is_better=False),
                big(2.0, unit="bits_per_byte", higher_is_better=False),
            ],
            [
                "mmlu (accuracy): tiny@step-1 1.0000, before 3.0000 (-2.00), leads now, before big",
                "mmlu (accuracy): big 2.0000, place 2 of 2, before 1",
            ],
        ),
    ],
    ids=["first", "same", "another model", "new leader", "new checkpoint", "limited", "infinite", "lower is better"],
)
def test_what_moved_is_told_in_the_order_of_places(before, after, lines):
    assert changes(before, after, SUITE) == lines


def test_the_written_leaderboard_is_what_the_next_one_is_compared_with():
    rows = [tiny(0.5), big(math.inf)]

    kept = rows_of(json.loads(leaderboard_files(rows, SUITE)["leaderboard.json"]))

    assert changes(kept, rows, SUITE) == []


def test_a_leaderboard_with_columns_of_another_version_is_still_compared():
    (row,) = json.loads(leaderboard_files([tiny(0.5)], SUITE)["leaderboard.json"])
    del row["peak_memory_gib"]

    assert changes(rows_of([{**row, "added_later": 1}]), [tiny(0.5)], SUITE) == []
