"""From what a reader found to a checked verdict: the labels and scales are the judge's, nothing else counts."""

from __future__ import annotations

import math

import pytest

from llm_eval.judging import judgements, verdicts
from llm_eval.judging.asks import asks_of
from llm_eval.judging.readers import Unreadable
from llm_eval.judging.schemas import schema_of
from llm_eval.records import Response, TokenLogprob
from llm_eval.specs import Correctness, Dimensions, Pairwise, Ranking, Rating
from tests.builders import PAIR, judge, subject

SCALE = Rating(kind="rating")
WHOLE = Rating(kind="rating", whole=True)
SIMPLE_QA = Correctness(kind="correctness", labels={"A": "correct", "B": "incorrect", "C": "not_attempted"})
DIMENSIONS = Dimensions(kind="dimensions", dimensions=("清晰度", "完备性"), overall="综合得分")
LENIENT = DIMENSIONS.model_copy(update={"strict": False})
PAIRS = Pairwise(kind="pairwise", labels={"A>>B": "first_much", "A>B": "first", "A=B": "tie", "B>A": "second"})
WEIGHED = Pairwise(kind="pairwise", labels={"m": "first", "M": "second"}, probabilities=True)
NOTHING = object()


def value(read, raw, *kind):
    try:
        return read(raw, *kind).value
    except Unreadable:
        return NOTHING


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("7", 7.0),
        ("7.5", 7.5),
        (" 7 ", 7.0),
        ("8/10", 8.0),
        ("10/10", 10.0),
        ("8 out of 10", 8.0),
        ("8分", 8.0),
        ("8 points", 8.0),
        ("７", 7.0),  # full-width, as Chinese keyboards have it
        ("٧", 7.0),
        ("²", NOTHING),
        ("8/5", NOTHING),
        ("10分之8", NOTHING),  # eight of ten, the other way round
        ("0", NOTHING),
        ("11", NOTHING),
        ("-3", NOTHING),
        ("1e1", NOTHING),
        ("nan", NOTHING),
        ("inf", NOTHING),
        ("9" * 5000, NOTHING),
        ("7 or 8", NOTHING),
        ("seven", NOTHING),
        ("", NOTHING),
        (["7"], NOTHING),
        ({"rating": 7}, NOTHING),
    ],
)
def test_a_rating_is_one_number_on_the_scale(raw, found):
    assert value(verdicts.rating, raw, SCALE) == found


@pytest.mark.parametrize(("raw", "found"), [("7", 7.0), ("7.0", 7.0), ("7.5", NOTHING), ("7.5/10", NOTHING)])
def test_whole_numbers_are_asked_for_where_the_judge_says_so(raw, found):
    assert value(verdicts.rating, raw, WHOLE) == found


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("A", 1.0),
        ("a", 1.0),
        ("B", 0.0),
        ("C", None),
        ("A and B", NOTHING),
        ("CORRECT", NOTHING),
        ("", NOTHING),
        (["A"], NOTHING),
    ],
)
def test_correctness_is_one_of_the_labels_in_any_case(raw, found):
    assert value(verdicts.correctness, raw, SIMPLE_QA) == found


@pytest.mark.parametrize(
    ("raw", "found"),
    [("A>>B", 1.0), ("A>B", 1.0), ("A=B", 0.5), ("B>A", 0.0), ("B>>A", NOTHING), ("a>b", NOTHING), ("A", NOTHING)],
)
def test_a_pair_s_verdict_is_one_of_the_labels_as_written(raw, found):
    assert value(verdicts.pair, raw, PAIRS) == found


def test_ratings_of_dimensions_need_all_of_them_and_look_at_no_others():
    found = verdicts.dimensions(
        {"清晰度": 4, "完备性": "5", "综合得分": 6, "幽默": "n/a"}, DIMENSIONS, DIMENSIONS.dimensions
    )

    assert (found.value, found.dimensions) == (6.0, {"清晰度": 4.0, "完备性": 5.0})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"清晰度": 4, "综合得分": 6}, "no rating of 完备性"),
        ({"清晰度": 4, "完备性": 5}, "no rating of 综合得分"),
        ({"清晰度": 4, "完备性": 11, "综合得分": 6}, "完备性: 11 is not between 1 and 10"),
        ({"清晰度": 4, "完备性": 5, "综合得分": 6.5}, "综合得分: 6.5 is not a whole number"),
        ({"清晰度": True, "完备性": 5, "综合得分": 6}, "清晰度: 'True' is not a number"),
        ("6", "a dictionary of ratings is needed"),
    ],
)
def test_a_rating_that_is_missing_or_off_the_scale_is_named(raw, reason):
    with pytest.raises(Unreadable, match=reason):
        verdicts.dimensions(raw, DIMENSIONS, DIMENSIONS.dimensions)


def test_a_lenient_judge_may_leave_dimensions_out_but_not_the_overall_rating():
    assert verdicts.dimensions({"清晰度": 4, "综合得分": 6}, LENIENT, LENIENT.dimensions).dimensions == {"清晰度": 4.0}
    assert value(verdicts.dimensions, {"清晰度": 4}, LENIENT, LENIENT.dimensions) is NOTHING


@pytest.mark.parametrize(
    ("raw", "places"),
    [
        ("B > A > C", (1, 0, 2)),
        ("B,A,C", (1, 0, 2)),
        (["C", "B", "A"], (2, 1, 0)),
        ("A > B", None),
        ("A > B > C > A", None),
        ("A = B > C", None),
        ({"A": 3, "B": 1, "C": 2}, None),  # ratings of each are no order
    ],
)
def test_a_ranking_names_each_answer_once(raw, places):
    try:
        assert verdicts.ranking(raw, Ranking(kind="ranking"), "ABC").places == places
    except Unreadable:
        assert places is None


@pytest.mark.parametrize(
    ("logprobs", "found"),
    [
        ({"m": math.log(0.6), "M": math.log(0.2), "Both": -9.0}, 0.75),  # 0.6 / (0.6 + 0.2)
        ({"m": -0.1}, 1.0),
        ({"M": -5.0}, 0.0),
        ({"m": -0.7, "M": -0.7}, 0.5),
        ({"m": -9999.0, "M": -9999.0}, 0.5),  # what servers say for "next to nothing"; exp(-9999) is 0
        ({"m": -9999.0}, 1.0),
        ({"Both": -0.1}, NOTHING),
        ({"m": math.nan}, NOTHING),
        ({"m": -math.inf, "M": -1.0}, 0.0),
        ({}, NOTHING),
    ],
)
def test_a_probability_is_that_of_the_one_label_among_both(logprobs, found):
    """Source: tatsu-lab/alpaca_eval, completion_parsers.py, logprob_parser, is_binarize: false (2 less its value)."""
    result = value(verdicts.likely_pair, logprobs, WEIGHED)

    assert result == (found if found is NOTHING else pytest.approx(found, abs=1e-12))


def likely(*tokens):
    weighs = {**PAIR["verdict"], "labels": {"m": "first", "M": "second"}, "probabilities": True, "both_orders": False}
    spec = judge(**{**PAIR, "verdict": weighs, "generation": {"top_logprobs": 5}})
    (ask,) = asks_of(subject("x", "y"), spec, chat=True)
    return judgements.read(ask, Response("r", first_tokens=tuple(TokenLogprob(*t) for t in tokens)), spec).value


def test_the_label_itself_counts_before_the_label_with_a_blank():
    assert likely(("m", -2.0), (" m", -1.0), ("M", -2.0)) == 0.5
    assert likely((" m", -2.0), ("M", -2.0)) == 0.5


def test_a_judge_that_gave_no_first_tokens_has_no_verdict():
    with pytest.raises(Unreadable, match="neither label is among the likeliest first tokens"):
        likely()


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        (SIMPLE_QA, {"verdict": {"type": "string", "enum": ["A", "B", "C"]}}),
        (WHOLE, {"verdict": {"type": "integer", "minimum": 1.0, "maximum": 10.0}}),
        (SCALE, {"verdict": {"type": "number", "minimum": 1.0, "maximum": 10.0}}),
        (Ranking(kind="ranking"), {"verdict": {"type": "array", "items": {"type": "string"}}}),
        (
            DIMENSIONS,
            {n: {"type": "integer", "minimum": 1.0, "maximum": 10.0} for n in ("清晰度", "完备性", "综合得分")},
        ),
    ],
)
def test_a_schema_asks_for_reasons_first_and_for_nothing_else(kind, properties):
    schema = schema_of(kind)

    assert list(schema["properties"]) == ["explanation", *properties] == schema["required"]
    assert {k: v for k, v in schema["properties"].items() if k != "explanation"} == properties
    assert schema["additionalProperties"] is False
