"""Whose answers a model's are compared with: pinned when planned, complete before any model is asked."""

from __future__ import annotations

import pytest

from llm_eval.errors import InputError, InvalidData, InvalidSpec, MissingSource
from llm_eval.layout import Layout
from llm_eval.stages import baselines
from llm_eval.stages.fetch import limited_samples
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish
from tests.builders import PAIR

FILE = {"kind": "file", "name": "other", "path": "others.jsonl", "id": "{{ id }}", "text": "{{ said }}"}
RUN = {"kind": "run", "model": "rival"}


def pairs(court, *answers, baseline=FILE, said=None, **changes):
    room = court(*answers)
    room.house.judge(**PAIR)
    room.house.model(name="grader-model", chat=True)
    room.dataset(judge={"judges": ["grader"], "baselines": [baseline]}, **changes)
    room.house.jsonl("others.jsonl", said or [{"id": f"q-{i}", "said": f"theirs {i}"} for i in range(len(answers))])
    return room


def read(room, address_of):
    run, address = address_of
    room.stages(address, "fetch", "validate", "render")
    samples = limited_samples(Layout(room.settings.root, run), None)
    return baselines.read(run.baselines[0], samples, room.settings)


def test_a_file_is_matched_by_id_or_by_question(court):
    room = pairs(court, "a", "b")
    by_input = {**{k: v for k, v in FILE.items() if k != "id"}, "input": "{{ asked }}"}

    assert read(room, room.planned()) == {"q-0": ("theirs 0",), "q-1": ("theirs 1",)}
    room.dataset(judge={"judges": ["grader"], "baselines": [by_input]})
    room.house.jsonl("others.jsonl", [{"asked": f"Question {i}?", "said": f"by question {i}"} for i in (1, 0)])
    assert read(room, room.planned()) == {"q-0": ("by question 0",), "q-1": ("by question 1",)}


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["q-1"], r"'other' \(others.jsonl\) lacks answers to 4 of 5 samples: q-0, q-2, q-3 and 1 more"),
        (["q-0", "q-0"], r"others.jsonl: sample 'q-0' is answered twice, in rows 1 and 2"),
    ],
)
def test_a_file_that_lacks_samples_or_has_one_twice_is_refused_before_the_model_is_asked(court, ids, words):
    room = pairs(court, *"abcde", said=[{"id": each, "said": "x"} for each in ids])
    _, address = room.planned()
    room.stages(address, "fetch", "validate")

    with pytest.raises(InvalidData, match=words):
        room.stages(address, "render")


def test_a_template_that_does_not_fit_the_file_is_named_with_file_and_row(court):
    room = pairs(court, "a", said=[{"idd": "q-0", "said": "x"}])
    _, address = room.planned()
    room.stages(address, "fetch", "validate")

    with pytest.raises(InvalidSpec, match=r"baseline 'other': others.jsonl, row 1: .*'id' is undefined"):
        room.stages(address, "render")


def test_a_file_that_is_not_there_is_refused_when_planned(court):
    room = pairs(court, "a", baseline={**FILE, "path": "nowhere.jsonl"})

    with pytest.raises(MissingSource, match=r"baseline 'other': there is no file 'nowhere.jsonl'"):
        room.planned()


def test_a_file_that_changed_since_it_was_planned_is_refused(court):
    room = pairs(court, "a")
    _, address = room.planned()
    room.house.jsonl("others.jsonl", [{"id": "q-0", "said": "something else"}])

    with pytest.raises(InvalidData, match=r"others.jsonl: changed since the run was planned"):
        room.stages(address, "fetch", "validate", "render")


def test_a_sample_that_stands_twice_in_the_dataset_is_refused_by_validate(court):
    room = pairs(court, "a")
    room.house.jsonl("colours.jsonl", [{"id": "q-0", "question": q, "answer": "r"} for q in ("One?", "Two?")])
    _, address = room.planned()
    room.stages(address, "fetch")

    with pytest.raises(InvalidData, match="nothing was asked of the model"):
        room.stages(address, "validate")


def rivals(court, answers, baseline=RUN, **changes):
    """A room in which a rival has been run, judged by nobody, and the others are now compared with it."""
    room = court(*(["mine"] * len(answers)))
    room.house.model(name="grader-model", chat=True)
    measured = {"extract": ["whole_text"], "metrics": ["exact_match"], **changes}
    room.dataset(judge=None, **measured)
    room.model("rival", answers)
    room.run("rival")
    room.house.judge(**PAIR)
    room.dataset(judge={"judges": ["grader"], "baselines": [baseline]}, **measured)
    return room


def test_another_model_s_newest_run_is_a_baseline(court):
    room = rivals(court, ["theirs 0", "theirs 1"])

    assert read(room, room.planned()) == {"q-0": ("theirs 0",), "q-1": ("theirs 1",)}


def test_a_baseline_may_have_answered_another_variant(court):
    pair = {"judge": {"judges": ["grader"], "baselines": [{**RUN, "dataset": "colours_plain"}]}}
    room = court("mine 0", "mine 1")
    room.house.model(name="grader-model", chat=True)
    room.house.judge(**PAIR)
    measured = {"judge": None, "extract": ["whole_text"], "metrics": ["exact_match"]}
    room.dataset(**pair, variants={"plain": measured})
    room.model("rival", ["theirs 0", "theirs 1"])
    run_all(room.house.catalog, room.settings, Wish("rival", "colours_plain"))

    assert read(room, room.planned()) == {"q-0": ("theirs 0",), "q-1": ("theirs 1",)}


def test_another_run_s_conversations_are_a_baseline_turn_by_turn(court):
    fields = {"id": "{{ id }}", "input": "{{ question }}", "follow_ups": ["And?"], "targets": "{{ answer }}"}
    room = rivals(court, [["one", "two"]], fields=fields)

    assert read(room, room.planned()) == {"q-0": ("one", "two")}


def test_a_baseline_s_failed_answers_are_lacking(court):
    room = rivals(court, ["theirs", None], max_failed_fraction=0.5)
    _, address = room.planned()

    with pytest.raises(InvalidData, match="lacks answers to 1 of 2 samples: q-1"):
        room.stages(address, "fetch", "validate", "render")


def test_a_model_is_not_compared_with_its_own_answers(court):
    room = rivals(court, ["theirs"])

    with pytest.raises(InvalidSpec, match="'rival': these are the answers of the very model that is judged"):
        room.planned("rival")


@pytest.mark.parametrize(
    "baseline", [{**RUN, "model": "stranger"}, {**RUN, "run_id": "r-1"}, {**RUN, "checkpoint": "c"}]
)
def test_a_run_that_is_not_there_is_named_with_what_makes_one(court, baseline):
    room = rivals(court, ["theirs"], baseline=baseline)

    with pytest.raises(
        InputError, match=rf"baseline {baseline['model']}.*llm-eval run -m {baseline['model']} -d colours"
    ):
        room.planned()
