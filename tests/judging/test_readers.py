"""What is found in a judge's reply, and what is not: no verdict is guessed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from llm_eval.errors import InputError, InvalidSpec, UnknownName
from llm_eval.judging.readers import READERS, Unreadable, check_readers, get_reader, read_verdict
from llm_eval.specs import NamedCall

PUBLISHED = yaml.safe_load((Path(__file__).parents[1] / "golden" / "judge_replies.yaml").read_text(encoding="utf-8"))
CASES = [(name, row["reply"], row["found"]) for name, rows in PUBLISHED.items() for row in rows]


def read(reply, *chain):
    """What the chain finds; None where the reply is unreadable."""
    calls = [NamedCall(name=c) if isinstance(c, str) else NamedCall(name=c[0], options=c[1]) for c in chain]
    try:
        return read_verdict(reply, calls)
    except Unreadable:
        return None


@pytest.mark.parametrize(("name", "reply", "found"), CASES, ids=[f"{n}-{r[:25]!r}" for n, r, _ in CASES])
def test_a_reader_with_an_author_reads_what_the_author_s_script_does(name, reply, found):
    try:
        assert get_reader(name).function(reply) == found
    except Unreadable:
        assert found is None


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("[[A]]", "A"),
        ("At first [[A]], on second thoughts [[B]].", "B"),
        ("[[ A>>B ]]", "A>>B"),
        ("[[]] [[ ]]", None),
        ("I prefer A.", None),
        ("[A]", None),
        ("<think>surely [[A]]</think>[[B]]", "B"),
        ("<think>surely [[A]]</think>", None),
        ("<think>surely [[A]]", None),
        ("[[A]]<think>or is it", None),
        ("", None),
        ("  \n", None),
    ],
)
def test_the_last_tag_counts_and_thoughts_do_not(reply, found):
    assert read(reply, "last_tag") == found


def test_several_different_tags_are_none_where_one_is_asked_for():
    unique = ("last_tag", {"unique": True})

    assert read("[[A]] or [[B]]", unique) is None
    assert read("[[A]], as I said: [[A]]", unique) == "A"


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("**B**.", "B"),
        ("B", "B"),
        ("`B`", "B"),
        ('"B"', "B"),
        ("（B）。", "B"),
        ("\n\n B \n", "B"),
        ("7.", "7"),
        (".5", ".5"),
        ("The answer is B", "The answer is B"),
        ("***", None),
    ],
)
def test_the_whole_reply_is_taken_without_the_marks_around_it(reply, found):
    assert read(reply, "whole_reply") == found


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Because.\nVerdict: B", "B"),
        ("**Verdict:** B\n\n", "B"),
        ("verdict: 7/10", "7/10"),
        ("Verdict: B\nI hope this helps!", None),
        ("Verdict:", None),
    ],
)
def test_the_last_line_begins_as_it_was_asked_to(reply, found):
    assert read(reply, ("last_line", {"prefix": "Verdict:"})) == found


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"verdict": "A"}', "A"),
        ('```json\n{"explanation": "{}", "verdict": "A", "confidence": 0.9}\n```', "A"),
        ('{"verdict": 7}', "7"),
        ('{"verdict": 7.5}', "7.5"),
        ('{"verdict": "A"} and finally {"verdict": "B"}', "B"),
        ('{"verdict": ["A", "B"]}', ["A", "B"]),
        ('{"clarity": 3, "overall": 4}', {"clarity": 3, "overall": 4}),
        ('She said "so {"verdict": "A"}', "A"),
        ('{"verdict": true}', None),
        ('{"verdict": null}', None),
        ('{"verdict": "A", "verdict": "B"}', None),
        ('{"verdict": "A", "verdict": "A"}', "A"),
        ('{"x": 1, "x": 2} then {"verdict": "A"}', "A"),
        ('{"verdict": "A"', None),
        ("{'verdict': 'A'}", None),
        ('["A"]', None),
        ('{"verdict": ' + "9" * 5000 + "}", None),
    ],
)
def test_the_last_json_object_has_the_verdict(reply, found):
    assert read(reply, "json_verdict") == found


def test_a_key_that_is_asked_for_must_be_there():
    assert read('{"winner": "A", "verdict": "B"}', ("json_verdict", {"key": "winner"})) == "A"
    assert read('{"verdict": "B"}', ("json_verdict", {"key": "winner"})) is None


@pytest.mark.parametrize(
    "reply",
    [
        "{'清晰度': 4, '综合得分': 7}",
        '{"清晰度": 4, "综合得分": 7}',
        "{‘清晰度’：4，“综合得分”：7}",
        "{清晰度: 4, 综合得分: 7,}",
    ],
)
def test_a_dictionary_may_be_in_any_quotes(reply):
    assert {k: str(v) for k, v in read(reply, "last_dictionary").items()} == {"清晰度": "4", "综合得分": "7"}


@pytest.mark.parametrize(
    "reply", ["{'a': 1, 'a': 2}", '{"a": 1, "a": 2}', "{'a' 1}", "{a: b: c}", "{: 1}", "a: 1", "{"]
)
def test_what_is_no_dictionary_or_contradicts_itself_is_none(reply):
    assert read(reply, "last_dictionary") is None


def test_the_first_reader_that_finds_something_decides_and_the_first_one_s_reason_is_told():
    assert read("B", "json_verdict", "last_tag", "whole_reply") == "B"
    with pytest.raises(Unreadable, match="it has no JSON object"):
        read_verdict("B", [NamedCall(name="json_verdict"), NamedCall(name="last_tag")])


HUGE = 1_000_000
TORMENTS = {
    "opening braces": "{" * HUGE,
    "empty braces that end open": "{}" * (HUGE // 2) + "{",
    "nested objects that never end": '{"a":' * (HUGE // 5),
    "objects in lists that never end": '{"a":[' * 300 + '{"b":1},' * (HUGE // 8),
    "a string that never ends": '{"a":"' + "x{" * (HUGE // 2),
    "escaped quotes": '{"' + '{\\"' * (HUGE // 3),
    "single quotes": "{" + "'" * HUGE + "}",
    "blanks in a dictionary": "{x" + " " * HUGE + "x}",
    "blanks after a number": "{'a': 1" + " " * HUGE + "x}",
    "tags": "[[" * (HUGE // 2),
    "blanks in a tag": "[[7" + " " * HUGE + "x]]",
    "different tags": "".join(f"[[{i}]]" for i in range(HUGE // 10)),
    "thoughts": "<think></think>" * (HUGE // 15),
    "blank lines": "\n" * HUGE,
    "digits": "9" * HUGE,
}


@pytest.mark.parametrize("torment", TORMENTS)
def test_a_megabyte_of_anything_is_read_or_refused_in_a_few_seconds_and_not_quoted_back(torment):
    check_readers([], "")  # loads them all
    get_reader("last_tag")
    for name in READERS:
        began, reason = time.process_time(), ""
        try:
            read_verdict(
                TORMENTS[torment], [NamedCall(name=name, options={"unique": True} if name == "last_tag" else {})]
            )
        except Unreadable as unreadable:
            reason = str(unreadable)
        assert len(reason) < 300
        assert time.process_time() - began < 8, name


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ({"name": "lst_tag"}, UnknownName, r"'lst_tag'.*Known: .*last_tag.*judge.yaml"),
        ({"name": "last_tag", "options": {"uniq": True}}, InvalidSpec, r"judge.yaml.*last_tag.*uniq"),
        ({"name": "last_tag", "options": {"pattern": "(a"}}, InvalidSpec, r"judge.yaml.*does not compile"),
        ({"name": "last_tag", "options": {"pattern": "(a)(b)"}}, InvalidSpec, r"judge.yaml.*2 groups"),
    ],
)
def test_a_reader_that_cannot_work_is_refused_by_name_and_file(call, error, words):
    with pytest.raises(error, match=words) as caught:
        check_readers([NamedCall.model_validate(call)], "judge.yaml")
    assert isinstance(caught.value, InputError)
