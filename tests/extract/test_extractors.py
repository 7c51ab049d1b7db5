"""Numbers, boxes, fields, fences, patterns and plain text."""

from __future__ import annotations

import json

import pytest

from llm_eval.errors import InvalidSpec
from llm_eval.extract import Extraction
from llm_eval.extract.marked import answer_line, boxed, code_block, json_field, regex
from llm_eval.extract.numbers import last_number, parse_number
from llm_eval.extract.plain import first_line, whole_text
from llm_eval.records import Sample
from tests.builders import choice_sample, sample

SAMPLE = sample()


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("so 1,234 in all", "1234"),  # OpenCompass finds 234
        ("18. (That is 9 + 9)", "18"),  # OpenCompass finds 9
        ("The total is 18 (9 + 9).", "18"),
        ("after 9 more the answer is (18)", "18"),
        ("f is f(3)", "3"),
        ("$5.00.", "5.00"),
        ("18.", "18"),
        ("-3", "-3"),
        ("−3 degrees", "-3"),
        ("that makes -$3", "-3"),
        ("that makes $-3", "-3"),
        ("5-3", "3"),
        ("10 - 3", "3"),
        ("pages 10-15", "15"),
        ("about 1.5e3 metres", "1.5e3"),
        ("a half, .5", ".5"),
        ("1,234,567.89!", "1234567.89"),
        ("\\$1{,}234", "1234"),
        ("numbers 1,2,3", "3"),
        ("１，２３４元", "1234"),
        ("答案是18。", "18"),
        ("**18** apples", "18"),
        ("#### 18", "18"),
        ("He pays 3 * 4 = <<3*4=12>>12 dollars", "12"),
        ("no idea", None),
        ("", None),
    ],
)
def test_last_number(reply, found):
    assert last_number(reply, SAMPLE).answer == found


def test_last_number_stops_at_the_first_marker():
    reply = "It is 7.\n\nQuestion: what is 8 + 1?\nAnswer: 9"

    assert last_number(reply, SAMPLE, stop_at="Question:").answer == "7"
    assert last_number(reply, SAMPLE, stop_at=["问题：", "\n\n"]).answer == "7"
    assert last_number(reply, SAMPLE).answer == "9"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234", 1234.0),
        (" $5.00. ", 5.0),
        ("50%", 50.0),
        ("-3", -3.0),
        ("18 dollars", None),
        ("", None),
        ("1e999", None),
    ],
)
def test_parse_number_takes_a_text_that_is_one_number_and_nothing_else(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"first \boxed{3}, no, \boxed{4}", "4"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"{ unbalanced \boxed{5}", "5"),
        (r"\boxed{6} and then \boxed{cut of", "6"),
        (r"\fbox{ 7 }", "7"),
        (r"\boxed{}", None),
        (r"\boxed{8", None),
        ("8", None),
    ],
)
def test_boxed_takes_the_last_box_whose_braces_are_balanced(reply, found):
    assert boxed(reply, SAMPLE).answer == found


@pytest.mark.parametrize(
    ("reply", "language", "found"),
    [
        ("ANSWER: C", "en", "C"),
        ("my answer: c.", "en", "C"),
        ("答案: C", "zh", "C"),
        ("答案：C", "zh", "C"),  # OpenCompass misses the full-width colon
        ("答案： **C**", "zh", "C"),
        ("答案：C", "en", None),
        ("ANSWER: Z", "en", None),
    ],
)
def test_answer_line(reply, language, found):
    assert answer_line(reply, choice_sample(), language=language).answer == found


def test_regex_takes_the_first_or_the_last_match():
    reply = "x = 1; x = 2; x = "

    assert regex(reply, SAMPLE, pattern=r"x = (\d*)").answer == "1"
    assert regex(reply, SAMPLE, pattern=r"x = (\d*)", which="last").answer == "2"
    assert regex(reply, SAMPLE, pattern=r"x = (?P<n>\d)", group="n").answer == "1"
    assert regex(reply, SAMPLE, pattern=r"x = \d", group=0).answer == "x = 1"
    assert regex(reply, SAMPLE, pattern=r"y = (\d)").outcome == "no_answer"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "(("}, r"'\(\(' is no regular expression"),
        ({"pattern": "x"}, "no group 1.*`group: 0`"),
        ({"pattern": "(x)", "group": "n"}, "no group 'n'"),
    ],
)
def test_a_pattern_that_cannot_work_is_the_user_s_fault(options, message):
    with pytest.raises(InvalidSpec, match=message):
        regex("x", SAMPLE, **options)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"answer": "B"}', "B"),
        ('Here:\n```json\n{"answer": "B", "why": {"answer": "C"}}\n```\nDone.', "B"),
        ('{"answer": "A"} or rather {"answer": "B"}, {"note": 1}', "B"),
        ('{"answer": 3.5}', "3.5"),
        ('{"answer": true}', "true"),
        ('{"answer": ["a", "é"]}', '["a", "é"]'),
        ('{"answer": null}', None),
        ('{"other": "B"}', None),
        ('{answer: "B"}', None),
        ("a set {1, 2} and {", None),
    ],
)
def test_json_field(reply, found):
    assert json_field(reply, SAMPLE, field="answer").answer == found


def test_json_field_survives_what_nests_too_deeply():
    assert json_field('{"a":' * 3000, SAMPLE, field="a").outcome == "no_answer"


PYTHON, SHELL, BARE = "```python\n    return 1\n```", "```sh\npip install x\n```", "```\nx = 2\n```"


@pytest.mark.parametrize(
    ("reply", "options", "found"),
    [
        (f"Install:\n{SHELL}\nthen\n{PYTHON}\nor\n{BARE}", {}, "pip install x"),
        (f"Install:\n{SHELL}\nthen\n{PYTHON}\nor\n{BARE}", {"which": "last"}, "x = 2"),
        (f"Install:\n{SHELL}\nthen\n{PYTHON}", {"language": "python"}, "    return 1"),
        (f"{SHELL}\n{BARE}", {"language": "python"}, "x = 2"),
        (SHELL, {"language": "python"}, None),
        ("```Python\ncut off", {"language": "python"}, "cut off"),
        ("~~~\na\n~~~", {}, "a"),
        ("```\n\n```", {}, None),
        ("x = 2", {}, None),
        ("use `x` or ```y```", {}, None),
    ],
)
def test_code_block(reply, options, found):
    assert code_block(reply, SAMPLE, **options).answer == found


def test_whole_text_and_first_line_take_off_blanks_and_nothing_else():
    assert whole_text(" \n a.\nb \n", SAMPLE) == Extraction("answered", "a.\nb")
    assert first_line(" \n a. \nb", SAMPLE) == Extraction("answered", "a.")
    assert whole_text(" \n", SAMPLE) == first_line(" \n", SAMPLE) == Extraction("no_answer")


def test_json_field_reads_what_json_wrote():
    value = {"answer": 'quotes " and { braces } and\nlines'}
    untouched = Sample("s", "", "q")

    assert json_field(f"so: {json.dumps(value)}!", untouched, field="answer").answer == value["answer"]
