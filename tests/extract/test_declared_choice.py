"""The table of replies in tests/golden/choice_replies.yaml, and what no table can say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.errors import InvalidData
from llm_eval.extract.choices import declared_choice
from tests.builders import choice_sample, sample

TABLE = yaml.safe_load((Path(__file__).parents[1] / "golden" / "choice_replies.yaml").read_text(encoding="utf-8"))
CASES = [(case["choices"], row["reply"], row["answer"]) for case in TABLE.values() for row in case["replies"]]


@pytest.mark.parametrize(("choices", "reply", "answer"), CASES, ids=[repr(reply[:40]) for _, reply, _ in CASES])
def test_the_declared_choice_of_a_reply(choices, reply, answer):
    found = declared_choice(reply, choice_sample(choices=choices))

    assert (found.outcome if found.outcome == "ambiguous" else found.answer) == answer


def test_an_ambiguous_reply_says_between_which():
    assert declared_choice("The answer is B or D.", choice_sample()).explanation == "B, D are all named"


def test_a_declared_letter_without_a_choice_is_named():
    found = declared_choice("A, B and C are wrong. The answer is E.", choice_sample())

    assert (found.outcome, found.explanation) == ("no_answer", "E is declared, and there is no such choice")


def test_the_text_of_two_equal_choices_is_ambiguous():
    assert declared_choice("red", choice_sample(choices=("red", "blue", "red"))).outcome == "ambiguous"


def test_a_sample_without_choices_is_our_mistake_and_named():
    with pytest.raises(InvalidData, match=r"'s-7' has no choices.*fields\.choices"):
        declared_choice("B", sample("s-7"))


@pytest.mark.parametrize("label", "ABCD")
@pytest.mark.parametrize(
    "form", ["The answer is ({}).", "答案：{}", "\\boxed{{{}}}", "**{}**", "故选{}。", "{}. because"]
)
def test_no_label_is_preferred(form, label):
    assert declared_choice(form.format(label), choice_sample()).answer == label


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(alphabet=st.sampled_from("ABCDIabi 答案是选项错不。：:.,()[]{}*\\$\"'\n-`<>/?isothernw"), max_size=80))
def test_it_never_raises_and_answers_only_with_labels(text):
    found = declared_choice(text, choice_sample())

    assert found.answer in ((None,) if found.outcome != "answered" else tuple("ABCD"))


@pytest.mark.parametrize("loop", ["选", "(", "答案", "answer is ", "A, ", "\n", "<answer>", "“", "B is "])
def test_a_reply_that_loops_is_read_in_linear_time(loop):
    began = time.process_time()
    declared_choice(loop * (8000 // len(loop)), choice_sample())

    assert time.process_time() - began < 1
