"""Labels, texts and numbers that are equal, and those that only look so."""

from __future__ import annotations

import json

import pytest

from llm_eval.errors import InvalidData, InvalidSpec
from llm_eval.metrics import Measure, get_metric
from llm_eval.metrics.match import accuracy, contains, exact_match, numeric_match
from tests.builders import choice_sample, sample


def test_accuracy_compares_with_the_target_label():
    asked = choice_sample(targets=("C",))

    assert accuracy("C", asked) == Measure(1.0)
    assert accuracy("A", asked) == Measure(0.0)
    assert accuracy("T", asked) == Measure(0.0)  # what first_capital finds in "The answer is C"


@pytest.mark.parametrize("targets", [("blue",), ("E",), ("2",)])
def test_a_target_that_is_no_label_is_our_mistake(targets):
    with pytest.raises(InvalidData, match=r"target '\w+' is none of its labels A, B, C, D"):
        accuracy("A", choice_sample(targets=targets))


@pytest.mark.parametrize(
    ("answer", "targets", "options", "value"),
    [
        ("Paris", ("paris",), {}, 1),
        ("Paris", ("paris",), {"ignore_case": False}, 0),
        ("  New   York.\n", ("New York",), {}, 1),
        ("巴黎。", ("巴黎",), {}, 1),
        ("１８", ("18",), {}, 1),
        ("-3", ("3",), {}, 0),
        ("1.5", ("15",), {}, 0),
        ("C++", ("C",), {}, 0),
        ("well-known", ("wellknown",), {}, 0),
        ("well-known", ("wellknown",), {"ignore_punctuation": True}, 1),
        ("《红楼梦》", ("红楼梦",), {"ignore_punctuation": True}, 1),
        ("The Beatles", ("Beatles",), {}, 0),
        ("The Beatles", ("Beatles",), {"ignore_articles": True}, 1),
        ("a", ("the",), {"ignore_articles": True}, 0),
        ("?", ("!",), {"ignore_punctuation": True}, 0),
        ("two", ("one", "two"), {}, 1),
        ("", ("one",), {}, 0),
    ],
)
def test_exact_match(answer, targets, options, value):
    assert exact_match(answer, sample(targets=targets), **options).value == value


@pytest.mark.parametrize(
    ("answer", "target", "value"),
    [
        ("1234", "1,234", 1),
        ("1,234", "1234", 1),
        ("5.00", "5", 1),
        ("$18", "18", 1),
        ("18 dollars", "18", 1),
        ("x = 18", "18", 1),
        ("-3", "3", 0),
        ("1.5e3", "1500", 1),
        ("0.3333", "0.33333333", 0),
        ("70%", "70", 1),
        ("3 or 4", "3", 0),
        ("three", "3", 0),
        ("", "0", 0),
        ("1e999", "1e300", 0),
    ],
)
def test_numeric_match(answer, target, value):
    assert numeric_match(answer, sample(targets=(target,))).value == value


def test_the_tolerance_is_absolute_and_inclusive():
    asked = sample(targets=("10",))

    assert numeric_match("10.5", asked, tolerance=0.5).value == 1
    assert numeric_match("10.51", asked, tolerance=0.5).value == 0


def test_an_answer_that_is_no_number_says_so():
    assert numeric_match("three", sample(targets=("3",))).explanation == "'three' is not one number"


def test_a_target_that_is_no_number_is_our_mistake_whatever_the_answer():
    with pytest.raises(InvalidData, match=r"'s-3': target 'five' is not a number"):
        numeric_match("no idea", sample("s-3", targets=("5", "five")))


@pytest.mark.parametrize("tolerance", [-1.0, "1e-6", None, float("nan")])
def test_a_tolerance_that_cannot_work_is_refused_before_the_run(tolerance):
    with pytest.raises(InvalidSpec, match=r"'numeric_match', option 'tolerance' is"):
        get_metric("numeric_match").check_options({"tolerance": tolerance}, "x.yaml")


def test_every_gold_answer_of_gsm8k_is_a_number_and_matches_itself(benchmark_files):
    lines = (benchmark_files / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    golds = [json.loads(line)["answer"].split("#### ")[-1] for line in lines]

    assert len(golds) == 1319
    assert sum("," in g for g in golds) > 0
    assert all(numeric_match(g, sample(targets=(g,))).value == 1 for g in golds)
    assert all(numeric_match(g + "1", sample(targets=(g,))).value == 0 for g in golds)


@pytest.mark.parametrize(
    ("answer", "targets", "value"),
    [
        ("It was Paris, France.", ("paris",), 1),
        ("It was Parisian.", ("Paris",), 0),
        ("the Rolling Stones", ("Rolling Stones", "Stones"), 1),
        ("Beatles", ("The Beatles",), 1),
        ("答案是北京市。", ("北京",), 1),
        ("答案是南京。", ("北京",), 0),
        ("in 1999", ("199",), 0),
        ("any text at all", ("",), 0),
        ("any text at all", (" ",), 0),
        ("any text at all", ("A",), 0),  # normalises to nothing; in OpenCompass this made every answer right
        ("...", ("!",), 0),
        ("A", ("A",), 1),
        ("", ("Paris",), 0),
        ("", ("",), 0),
        ("one, two", ("one two",), 1),
    ],
)
def test_contains(answer, targets, value):
    assert contains(answer, sample(targets=targets)).value == value


def test_no_answer_is_worth_nothing():
    for name in ("accuracy", "exact_match", "numeric_match", "contains"):
        assert get_metric(name).no_answer(sample(), any_option=1) == Measure(0.0)
