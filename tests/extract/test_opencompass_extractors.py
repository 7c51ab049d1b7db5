"""Replies whose extraction by OpenCompass is known: tests/golden/opencompass_replies.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from llm_eval.extract import get_extractor
from llm_eval.extract.opencompass import closest_choice, first_option
from tests.builders import choice_sample

TABLE = yaml.safe_load((Path(__file__).parents[1] / "golden" / "opencompass_replies.yaml").read_text(encoding="utf-8"))
CASES = [(name, row["reply"], row["ours"]) for name, rows in TABLE.items() for row in rows]
CAPITALS = ("London", "Paris", "Berlin", "Madrid")


@pytest.mark.parametrize(("name", "reply", "answer"), CASES, ids=[f"{n}-{r[:30]!r}" for n, r, _ in CASES])
def test_extraction_as_in_opencompass_with_its_defects_mended(name, reply, answer):
    found = get_extractor(name).function(reply, choice_sample(choices=CAPITALS))

    assert (found.outcome, found.answer) == ("answered" if answer else "no_answer", answer)


def test_first_option_without_its_cushion_takes_no_letter_out_of_a_word():
    assert first_option("the one called Berlin", choice_sample(choices=CAPITALS), cushion=False).outcome == "no_answer"


def test_first_option_knows_only_the_sample_s_own_labels():
    assert first_option("答案是C", choice_sample(choices=("yes", "no"))).outcome == "no_answer"


def test_closest_choice_tries_label_text_and_both():
    choices = ("make a new plan", "Go home and see Riley", "Find somewhere to go")

    assert closest_choice("B. Go home and see Riley", choice_sample(choices=choices)).answer == "B"
    assert closest_choice("Find somewhere to stay", choice_sample(choices=choices)).answer == "C"
    assert closest_choice("C", choice_sample(choices=choices)).answer == "C"
