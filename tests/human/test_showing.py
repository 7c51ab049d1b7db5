import re

import pytest

from llm_eval.human.records import Item
from llm_eval.human.showing import body, fenced, options, plain, subject
from llm_eval.specs import Human

PREFERENCE = Human(ask={"kind": "preference"}, instructions="Prefer the *right* one.")
RATING = Human(ask={"kind": "rating", "low": 1, "high": 3})


@pytest.mark.parametrize("text", ["a", "```\nx\n```", "````", "` `` ``` `````", "```\n````\n\n`````\n", "~~~\n```"])
def test_no_line_of_a_text_can_end_its_block(text):
    opening, *inside, closing = fenced(text).split("\n")

    assert opening == closing
    assert re.fullmatch("`{3,}", opening)
    assert "\n".join(inside) == text
    assert not [line for line in inside if opening in line]


def test_control_characters_and_what_turns_the_direction_of_writing_are_shown():
    assert plain("a\x00\x1b[2J\u202eb\r\nc\rd\te") == "a␀␛[2J\ufffdb\nc\nd\te"


def test_a_pair_is_shown_with_instructions_question_and_both_answers():
    item = Item("i", 2, "Why?", ("Because.", " "))

    assert subject(item, PREFERENCE, 9) == "Item 2 of 9: which answer is better?"
    assert body(item, PREFERENCE) == (
        "Prefer the *right* one.\n\n**Question**\n\n```\nWhy?\n```\n\n**Answer 1**\n\n```\nBecause.\n```\n\n"
        "**Answer 2**\n\n*The answer is empty.*\n"
    )


def test_a_rating_offers_each_number_of_its_scale():
    assert list(options(RATING)) == ["1", "2", "3", "Skip"]
    assert subject(Item("i", 1, "", ("",)), RATING, 1).endswith("how good is the answer, from 1 (worst) to 3 (best)?")
