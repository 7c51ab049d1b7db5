"""A judge beside people, and beside another judge: from published runs to statistics."""

from __future__ import annotations

import json

import pytest

from llm_eval import reliability
from llm_eval.cli import app
from llm_eval.errors import InputError, InvalidData, UnknownName
from llm_eval.reliability import GRADES, Ratings, compared, human_ratings
from tests.builders import PAIR, RATING
from tests.judging.test_stage import grade


def rated(rater, *said, scale=GRADES):
    return Ratings(rater, scale, {f"q-{i}": label for i, label in enumerate(said)})


C, W = "correct", "incorrect"


def test_labels_are_compared_by_hand():
    """20 samples: both right 9, both wrong 6, the judge alone right 3, the person alone 2.

    Agreement 15/20; by chance 12/20 · 11/20 + 8/20 · 9/20 = 0.51; kappa (0.75 - 0.51) / 0.49.
    """
    judge = rated("judge", *[C] * 9, *[W] * 6, *[C] * 3, *[W] * 2)
    person = rated("person", *[C] * 9, *[W] * 6, *[W] * 3, *[C] * 2)

    found = compared(judge, person)

    assert found.n == 20
    assert found.statistics["percent agreement"].value == 0.75
    assert found.statistics["Cohen's kappa"].value == pytest.approx(0.24 / 0.49)
    assert found.confusion == {(C, C): 9, (W, W): 6, (C, W): 3, (W, C): 2}


def test_numbers_have_correlations_and_whole_ones_a_weighted_kappa():
    whole = compared(rated("a", 1.0, 2.0, 3.0, 4.0, scale=()), rated("b", 2.0, 3.0, 4.0, 5.0, scale=()))
    halves = compared(rated("a", 1.5, 2.0, 3.0, scale=()), rated("b", 2.0, 3.0, 4.0, scale=()))

    assert whole.statistics["Pearson"].value == pytest.approx(1.0)
    assert whole.statistics["percent agreement"].value == 0.0
    assert "weighted kappa (quadratic)" in whole.statistics
    assert set(halves.statistics) == {"percent agreement", "Pearson", "Spearman", "Kendall's tau-b"}
    assert whole.confusion == {}


def test_what_is_left_out_is_counted_by_rater_and_reason():
    judge = Ratings("judge", GRADES, {"a": C, "b": None, "c": C, "d": C}, {"b": "failed or unreadable"})
    person = Ratings("people.csv", GRADES, {"a": C, "b": C, "c": None, "e": W}, {"c": "unlabelled"})

    found = compared(judge, person)

    assert found.n == 1
    assert found.left_out == {
        "judge: failed or unreadable": 1,
        "people.csv: unlabelled": 1,
        "people.csv: not rated": 1,
        "judge: not rated": 1,
    }


def test_nothing_in_common_is_an_error_that_shows_both_ids():
    with pytest.raises(InvalidData, match=r"no sample is rated by both judge \(a, …\) and people \(1, …\)"):
        compared(Ratings("judge", GRADES, {"a": C}), Ratings("people", GRADES, {"1": C}))


@pytest.mark.parametrize(
    ("rows", "scale", "words"),
    [
        (
            "id,label\nq-0,right\n",
            GRADES,
            r"labels.csv, row 1: label 'right' is none of incorrect, not_attempted, correct",
        ),
        ("id,label\nq-0,correct\nq-0,correct\n", GRADES, r"labels.csv, row 2: sample 'q-0' is labelled twice"),
        ("sample,label\nq-0,correct\n", GRADES, r"no column 'id'. Columns: sample, label"),
        ("id,label\nq-0,good\n", (), r"'good' is not a number"),
    ],
)
def test_labels_that_cannot_be_used_are_named(rows, scale, words):
    with pytest.raises(InvalidData, match=words):
        human_ratings("labels.csv", rows.encode(), Ratings("judge", scale, {}))


def test_labels_are_read_in_any_case_and_blank_cells_are_unlabelled():
    found = human_ratings("l.csv", b"q,l\na,Correct\nb, incorrect \nc,\n", Ratings("judge", GRADES, {}), "q", "l")

    assert found.of == {"a": C, "b": W, "c": None}
    assert found.why == {"c": "unlabelled"}


@pytest.fixture
def agreement(capsys):
    def command(room, *arguments):
        with pytest.raises(SystemExit) as ended:
            app(["--root", room.settings.root, "judge-agreement", *arguments])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return command


def test_a_published_run_beside_people_s_labels(court, agreement, tmp_path):
    room = court("right 0", "wrong", "right 2", "")
    with room.judged(grade):
        run_id = room.run()["judged_accuracy"].run_id
    labels = tmp_path / "labels.csv"
    labels.write_text("sample,verdict\nq-0,correct\nq-1,correct\nq-2,correct\nq-3,incorrect\n")
    arguments = (run_id, "--labels", str(labels), "--id", "sample", "--label", "verdict")

    found = json.loads(agreement(room, *arguments, "--format", "json"))
    table = agreement(room, *arguments)

    assert (found["n"], found["statistics"]["percent agreement"]["value"]) == (3, pytest.approx(2 / 3))
    assert found["left_out"] == {"judge grader: empty answer, not shown to the judge": 1}
    assert found["statistics"]["Cohen's kappa"]["value"] is None  # people gave one label only
    assert "percent agreement  0.667  [" in table
    assert "undefined: " in table


def test_two_judges_of_one_run(court, agreement):
    room = court(*(f"{'abc'[i % 3] * (i + 1)}" for i in range(9)))
    for name in ("grader", "second"):
        room.house.judge(name=name, **RATING, template="{{ answer }}", system=name)
    room.dataset(judge=["grader", "second"])
    with room.judged(lambda prompt: f"[[{len(prompt)}]]"):
        run_id = room.run()["rating"].run_id

    found = json.loads(agreement(room, run_id, "--judge", "grader", "--other-judge", "second", "--format", "json"))

    assert (found["n"], found["statistics"]["weighted kappa (quadratic)"]["value"]) == (9, pytest.approx(1.0))
    row = reliability.judged_run(room.settings.root, run_id)
    with pytest.raises(InputError, match="several judges, say which: grader, second"):
        reliability.judge_ratings(room.settings.root, row)
    with pytest.raises(UnknownName, match="Did you mean 'second'"):
        reliability.judge_ratings(room.settings.root, row, "secund")


def test_pairs_are_won_tied_or_lost_over_both_orders(court):
    room = court("x", "longest", "same")
    room.house.judge(**PAIR)
    room.house.jsonl("others.jsonl", [{"id": f"q-{i}", "said": "same"} for i in range(3)])
    baseline = {"kind": "file", "name": "other", "path": "others.jsonl", "id": "{{ id }}", "text": "{{ said }}"}
    room.dataset(judge={"judges": ["grader"], "baselines": [baseline]})
    with room.judged(
        lambda p: "[[A]]" if p.index("[/A]") - p.index("[A]") > p.index("[/B]") - p.index("[B]") else "[[B]]"
    ):
        run_id = room.run()["win_rate"].run_id

    found = reliability.judge_ratings(room.settings.root, reliability.judged_run(room.settings.root, run_id))

    assert found.of == {"q-0": "loss", "q-1": "win", "q-2": "tie"}


def test_a_run_that_is_not_there_or_not_judged_is_named(court):
    room = court("right 0")

    with pytest.raises(InputError, match="no run 'r-1' has been published"):
        reliability.judged_run(room.settings.root, "r-1")
