"""Which result stands in which cell."""

from __future__ import annotations

import pytest

from llm_eval.reporting.leaderboard import Column, Leaderboard, Selection, marks
from tests.reporting.builders import part, result


def cells(rows, **selection):
    """Value by (label of the line, label of the column)."""
    board = Leaderboard.of(rows, Selection(**selection))
    return {(line.label, column.label): row.value for (line, column), row in board.cells.items()}


def test_the_newest_run_counts_even_if_it_is_worse():
    rows = [
        result(0.9, run_id="old", evaluated_at="2026-01-01T00:00:00+00:00"),
        result(0.1, run_id="new", evaluated_at="2026-01-02T00:00:00+00:00"),
    ]

    assert cells(rows) == {("mmlu", "tiny"): 0.1}


def test_a_full_run_counts_before_a_newer_limited_one():
    rows = [
        result(0.4, run_id="full", evaluated_at="2026-01-01T00:00:00+00:00"),
        result(0.9, run_id="limited", evaluated_at="2026-01-02T00:00:00+00:00", sample_limit=50),
    ]

    assert cells(rows) == {("mmlu", "tiny"): 0.4}


def test_of_limited_runs_the_one_with_more_samples_counts():
    rows = [
        result(0.4, run_id="200", evaluated_at="2026-01-01T00:00:00+00:00", sample_limit=200),
        result(0.9, run_id="50", evaluated_at="2026-01-02T00:00:00+00:00", sample_limit=50),
    ]

    assert cells(rows) == {("mmlu", "tiny"): 0.4}


def checkpoint(name, created, value, **fields):
    return result(value, run_id=name, checkpoint=name, checkpoint_created_at=created, **fields)


def test_a_model_shows_its_newest_checkpoint_whichever_was_evaluated_last():
    rows = [
        checkpoint("step-9", "2026-01-01T00:00:00Z", 0.1, evaluated_at="2026-02-02T00:00:00+00:00"),
        checkpoint("step-10", "2026-01-02T00:00:00Z", 0.2, evaluated_at="2026-02-01T00:00:00+00:00"),
    ]

    assert cells(rows) == {("mmlu", "tiny@step-10"): 0.2}


def test_a_column_never_mixes_checkpoints():
    rows = [
        checkpoint("step-1", "2026-01-01T00:00:00Z", 0.1, dataset="ceval"),
        checkpoint("step-2", "2026-01-02T00:00:00Z", 0.2),
    ]

    assert cells(rows) == {("mmlu", "tiny@step-2"): 0.2}


def test_all_checkpoints_stand_in_the_order_of_their_creation():
    rows = [
        checkpoint("step-10", "2026-01-02T00:00:00Z", 0.2),
        checkpoint("step-9", "2026-01-01T00:00:00Z", 0.1),
        result(model="another"),
    ]

    board = Leaderboard.of(rows, Selection(all_checkpoints=True))

    assert [column.label for column in board.columns] == ["another", "tiny@step-9", "tiny@step-10"]


def test_a_run_goes_by_the_kind_of_mean_of_its_headline():
    rows = [
        result(0.4, headline=False, aggregation="micro"),
        result(0.6, headline=True, aggregation="macro"),
        part("stem", 0.3, "micro"),
        part("stem", 0.5, "macro"),
        result(0.7, metric="f1", headline=False, aggregation="macro"),
        result(0.8, metric="f1", headline=False, aggregation="micro"),
    ]

    board = Leaderboard.of(rows, Selection(groups=True))

    assert [(line.label, line.metric, row.value) for (line, _), row in board.cells.items()] == [
        ("mmlu", "accuracy", 0.6),
        ("mmlu/stem", "accuracy", 0.5),
        ("mmlu", "f1", 0.7),
    ]


@pytest.mark.parametrize(
    ("selection", "labels"),
    [
        ({}, ["mmlu"]),
        ({"groups": True}, ["mmlu", "mmlu/stem", "mmlu/other"]),
        ({"subsets": True}, ["mmlu", "mmlu/anatomy"]),
        ({"groups": True, "subsets": True}, ["mmlu", "mmlu/stem", "mmlu/other", "mmlu/anatomy"]),
    ],
)
def test_groups_and_subsets_have_lines_when_asked_for(selection, labels):
    rows = [part("anatomy", 0.2, "samples"), part("stem", 0.3), part("other", 0.4), result(0.5)]

    assert [line for line, _ in cells(rows, **selection)] == labels


@pytest.mark.parametrize(
    "difference", [{"dataset_version": "ffffffff"}, {"judge": "gpt-4o"}, {"variant": "ppl"}, {"mode": "ppl"}]
)
def test_what_cannot_be_compared_never_shares_a_line(difference):
    board = Leaderboard.of([result(), result(model="other", run_id="other", **difference)], Selection())

    assert len(board.lines) == 2


def test_models_and_datasets_follow_the_order_asked_for_and_are_there_without_results():
    rows = [result(dataset=dataset, model=model, run_id="r") for dataset in ("arc", "piqa") for model in ("a", "b")]
    selection = Selection(models=("c", "b"), datasets=("siqa", "piqa"))

    board = Leaderboard.of(rows, selection)

    assert board.columns == (Column("c"), Column("b"), Column("a"))
    assert [line.dataset for line in board.lines] == ["piqa", "arc"]
    assert board.unseen == ("siqa",)


@pytest.mark.parametrize(("higher_is_better", "best"), [(True, 0.6), (False, 0.5)])
def test_the_best_of_a_line_is_looked_for_among_full_runs(higher_is_better, best):
    rows = [
        result(value, model=model, run_id=model, higher_is_better=higher_is_better, sample_limit=limit)
        for model, value, limit in (("a", 0.5, None), ("b", 0.6, None), ("c", 0.9, 10), ("d", 0.1, 10))
    ]
    board = Leaderboard.of(rows, Selection())

    assert board.best(board.lines[0]) == best


def test_one_result_is_not_the_best_of_anything():
    board = Leaderboard.of([result()], Selection())

    assert board.best(board.lines[0]) is None


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        ({}, ""),
        ({"failed": 1}, "!"),
        ({"sample_limit": 10}, "*"),
        ({"params": {"overrides": {"model.backend.dtype": "float32"}}}, "~"),
        ({"params": {"shards": 4}}, ""),
        ({"failed": 1, "sample_limit": 10}, "!*"),
    ],
)
def test_marks_say_why_a_number_is_less_than_it_looks(fields, mark):
    assert marks(result(**fields)) == mark
