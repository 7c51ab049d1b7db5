"""A judge that disagrees with people does not count, and cannot be let through by not looking."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llm_eval.errors import InvalidData, MissingSource, UntrustedJudge
from tests.builders import RATING, judge
from tests.judging.test_stage import FIRST, grade

CALIBRATION = {
    "path": "labels.jsonl",
    "input": "{{ q }}",
    "answer": "{{ a }}",
    "reference": "{{ r }}",
    "label": "{{ label }}",
    "min_agreement": 0.8,
}


def labels(*right):
    """Labelled answers; False: people say incorrect of an answer that is the reference's own text."""
    return [
        {"q": f"Q{i}", "a": f"a{i}", "r": f"a{i}", "label": "correct" if ok else "incorrect"}
        for i, ok in enumerate(right)
    ]


def calibrated(court, rows, **changes):
    room = court("right 0", "wrong")
    room.house.jsonl("labels.jsonl", rows)
    room.house.judge(calibration={**CALIBRATION, **changes})
    return room


def test_a_judge_that_agrees_is_asked_once_and_its_figures_are_counted(court):
    room = calibrated(court, labels(True, True, True, True, False))
    with room.judged(grade) as server:
        _, address = room.planned()
        room.stages(address, *FIRST)
        counts = room.stages(address, "judge", "verdict")["verdict"]
        assert len(server.asked) == 5 + 2
        room.model("other", ["right 0", "else"])
        room.run("other")
        assert len(server.asked) == 5 + 2 + 1

    assert (counts["calibration_labels"], counts["calibration_agreement"], counts["samples"]) == (5, 0.8, 2)


def test_a_judge_that_disagrees_fails_the_run_before_it_is_asked_about_its_answers(court):
    room = calibrated(court, labels(True, True, True, False, False))
    words = (
        r"judge 'grader': agreement with the 5 labels of labels.jsonl is 0.600 \(value\).*min_agreement asks for 0.8"
    )
    with room.judged(grade) as server:
        _, address = room.planned()
        room.stages(address, *FIRST)
        with pytest.raises(UntrustedJudge, match=words):
            room.stages(address, "judge")
        with pytest.raises(UntrustedJudge, match=words):
            room.stages(address, "verdict")

    assert len(server.asked) == 5


def test_the_lower_end_of_the_interval_asks_for_more_labels(court):
    room = calibrated(court, labels(*[True] * 5), by="ci_low")
    with room.judged(grade), pytest.raises(UntrustedJudge, match=r"0.566 \(ci low\)"):  # Wilson: 5 / (5 + 1.96²)
        room.run()


def test_a_kappa_that_is_undefined_is_not_reached(court):
    room = calibrated(court, labels(*[True] * 5), min_agreement=None, min_kappa=0.1)
    with room.judged(grade), pytest.raises(UntrustedJudge, match=r"is undefined .*nothing to agree on"):
        room.run()


def test_an_unreadable_verdict_agrees_with_nobody(court):
    room = calibrated(court, labels(*[True] * 5))
    with room.judged(lambda p: "hm" if "Question: Q4" in p or "'hm'" in p else grade(p)):
        _, address = room.planned()
        room.stages(address, *FIRST)
        counts = room.stages(address, "judge", "verdict")["verdict"]

    assert (counts["calibration_agreement"], counts["calibration_unreadable"]) == (0.8, 1)


def test_another_threshold_asks_nothing_anew(court):
    room = calibrated(court, labels(True, True, True, True, False))
    with room.judged(grade) as server:
        room.run()
        room.house.judge(calibration={**CALIBRATION, "min_agreement": 0.9})
        with pytest.raises(UntrustedJudge):
            room.run()

    assert len(server.asked) == 7


def test_labels_that_cannot_do_are_refused_when_planned(court):
    room = calibrated(court, [{"q": "Q", "a": "a", "r": "r", "label": "fine"}])
    with room.judged(grade):
        with pytest.raises(InvalidData, match=r"labels.jsonl, row 1: label 'fine' is none of correct, incorrect"):
            room.planned()
        room.house.jsonl("labels.jsonl", labels(True) * 2)
        with pytest.raises(InvalidData, match="row 2: this answer to 'Q0' is labelled twice"):
            room.planned()
        (room.house.data / "labels.jsonl").unlink()
        with pytest.raises(MissingSource, match=r"judge 'grader': calibration: there is no file 'labels.jsonl'"):
            room.planned()


def test_labels_that_changed_since_the_run_was_planned_are_refused(court):
    room = calibrated(court, labels(*[True] * 5))
    with room.judged(grade):
        _, address = room.planned()
        room.stages(address, *FIRST)
        room.house.jsonl("labels.jsonl", labels(True))
        with pytest.raises(InvalidData, match="changed since the run was planned"):
            room.stages(address, "judge")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": {**CALIBRATION, "min_kappa": 0.5}}, "one of both"),
        ({"calibration": {**CALIBRATION, "min_agreement": None}}, "one of both"),
        ({"calibration": CALIBRATION, **RATING}, "judges of kind correctness"),
    ],
)
def test_a_calibration_that_means_nothing_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        judge(**changes)
