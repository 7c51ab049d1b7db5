"""The demo's benchmarks and lessons: reproducible, and never the same question."""

from __future__ import annotations

import json
import re

import pytest

from llm_eval.demo import world
from tests.conftest import CHECKOUT

COMMITTED = CHECKOUT / "include" / "data" / "demo"


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (COMMITTED / name).read_text(encoding="utf-8").splitlines()]


def test_the_committed_files_are_what_the_generator_writes(tmp_path):
    world.write_benchmarks(tmp_path)

    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in COMMITTED.iterdir()}


@pytest.mark.parametrize("name", ["addition.jsonl", "animals.jsonl"])
def test_no_tested_question_is_taught(name):
    taught = {lesson.question for lesson in [*world.sum_lessons(), *world.animal_lessons()]}

    tested = [row["question"] for row in rows(name)]

    assert len(set(tested)) == 200
    assert taught.isdisjoint(tested)


def test_no_tested_sum_is_taught_with_its_numbers_swapped():
    taught = {frozenset(re.findall(r"\d+", lesson.question)) for lesson in world.sum_lessons()}

    assert taught.isdisjoint(frozenset(row["id"].split("+")) for row in rows("addition.jsonl"))


def test_every_tested_fact_is_taught_in_other_words():
    taught = {(word, lesson.answer) for lesson in world.animal_lessons() for word in lesson.question[:-1].split()}

    for row in rows("animals.jsonl"):
        animal = row["id"].split("-")[0]
        assert (animal, row["choices"]["ABCD".index(row["answer"])]) in taught


def test_no_few_shot_example_is_about_a_tested_animal():
    shown = {row["id"] for row in rows("animals-few-shot.jsonl")}

    assert shown == {"yarrol", "zibbu"}
    assert not [row for row in rows("animals.jsonl") if any(animal in row["question"] for animal in shown)]


def test_animal_questions_have_four_different_choices_of_their_own_attribute():
    for row in [*rows("animals.jsonl"), *rows("animals-few-shot.jsonl")]:
        assert len(set(row["choices"])) == 4
        assert set(row["choices"]) <= set(world.VALUES[row["subset"]])


def test_tested_sums_are_right_and_in_the_subset_that_their_ones_say():
    for row in rows("addition.jsonl"):
        first, second = map(int, row["id"].split("+"))
        assert int(row["answer"]) == first + second
        assert (row["subset"] == "carry") == (first % 10 + second % 10 > 9)


def test_taught_sums_show_their_working():
    lessons = {lesson.question: lesson.answer for lesson in world.sum_lessons()}

    assert lessons["What is 19+24?"] == "30+13=43"
    assert lessons["What is 90+95?"] == "180+5=185"


def test_every_taught_sum_is_right():
    for question, answer in world.sum_lessons():
        working, _, total = answer.partition("=")
        numbers = [int(n) for n in re.findall(r"\d+", question)]
        assert int(total) == sum(numbers) == sum(map(int, working.split("+")))
