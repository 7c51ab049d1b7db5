"""Extractors one after the other, reasoning, and options."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.errors import InvalidSpec, UnknownName
from llm_eval.extract import EXTRACTORS, Extraction, check_chain, extract, get_extractor
from llm_eval.specs import NamedCall
from tests.builders import choice_sample

NEEDED = {"regex": {"pattern": r"(\w)"}, "json_field": {"field": "answer"}}
EVERY = (
    "declared_choice", "first_option", "first_capital", "answer_line", "closest_choice", "last_number", "boxed",
    "regex", "json_field", "code_block", "whole_text", "first_line",
)  # fmt: skip


def chain(*calls):
    return [NamedCall.model_validate(c) for c in calls]


def test_the_first_extractor_that_answers_wins_and_is_named():
    found = extract(r"A or B: \boxed{7} then 8", choice_sample(), chain("declared_choice", "boxed", "last_number"))

    assert found == Extraction("answered", "7", "boxed")


def test_options_reach_the_extractor():
    assert extract("1 Q: 2", choice_sample(), chain({"last_number": {"stop_at": "Q:"}})).answer == "1"


def test_ambiguous_is_remembered_if_nothing_answers():
    found = extract("B or C", choice_sample(), chain("boxed", "declared_choice", "last_number"))

    assert found == Extraction("ambiguous", None, "B, C are all named")


def test_no_answer_if_none_finds_anything():
    assert extract("well", choice_sample(), chain("boxed", "last_number")) == Extraction("no_answer")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<think>A? The answer is A.</think>The answer is B.", "B"),
        ("The answer is A.</think> The answer is B.", "B"),
        ("<think>one</think><think>two, A</think>B", "B"),
    ],
)
def test_reasoning_is_not_mined(reply, answer):
    assert extract(reply, choice_sample(), chain("declared_choice")).answer == answer


@pytest.mark.parametrize("reply", ["<think>The answer is A", "<think>x</think> so <think>A", "<think>A</think>"])
@pytest.mark.parametrize("name", ["declared_choice", "whole_text", "first_capital"])
def test_reasoning_that_was_cut_off_or_led_to_nothing_is_no_answer(reply, name):
    assert extract(reply, choice_sample(), chain(name)).outcome == "no_answer"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            {"last_number": {"stop": "Q:"}},
            r"dataset x: extractor 'last_number' has no option 'stop'. Options: stop_at\.",
        ),
        ({"regex": {"group": 0}}, "needs the option 'pattern'"),
        ({"regex": {"pattern": "(("}}, "no regular expression"),
        ({"regex": {"pattern": "(x)", "which": "middle"}}, "'which' is 'middle'.*'first' or 'last'"),
        ({"first_option": {"cushion": "no"}}, "'cushion' is 'no'.*boolean"),
        ({"whole_text": {"strip": True}}, r"Options: none\."),
    ],
)
def test_options_that_cannot_work_are_found_before_the_run(call, message):
    with pytest.raises(InvalidSpec, match=message):
        check_chain(chain(call), "dataset x")


def test_an_unknown_extractor_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match=r"extractor 'last_numbr'.*Did you mean 'last_number'.*dataset x"):
        check_chain(chain("last_numbr"), "dataset x")


def test_every_extractor_is_registered_with_a_version():
    assert set(EVERY) == set(EXTRACTORS)
    assert all(get_extractor(name).version >= 1 for name in EVERY)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=40, deadline=None, database=None)
@given(
    text=st.text(max_size=200)
    | st.text(alphabet="AB1.,-+$%{}\\()[]`~*:\"'\n boxedanswer答案选是：<think>/", max_size=200)
)
def test_extract_never_raises_whatever_the_text(name, text):
    found = extract(text, choice_sample(), [NamedCall(name=name, options=NEEDED.get(name, {}))])

    assert (found.answer is not None) == (found.outcome == "answered")
