"""What log-likelihoods say, and what they cannot."""

from __future__ import annotations

import math

import pytest

from llm_eval.errors import InvalidData
from llm_eval.metrics import Measure, UnusableResponse, get_metric
from llm_eval.metrics.likelihood import (
    bits_per_byte,
    choice_accuracy,
    choice_accuracy_per_byte,
    choice_accuracy_per_token,
    perplexity,
)
from llm_eval.records import Likelihood
from tests.builders import choice_sample, response, sample

CHOOSERS = [choice_accuracy, choice_accuracy_per_token, choice_accuracy_per_byte]


def weighed(*likelihoods):
    return response(text=None, likelihoods=tuple(Likelihood(*one) for one in likelihoods))


# Sums favour A, means per token B, means per byte C.
THREE = weighed((-6.0, 2, 3), (-8.0, 8, 4), (-9.0, 3, 30))


@pytest.mark.parametrize(
    ("function", "answer"),
    [(choice_accuracy, "A"), (choice_accuracy_per_token, "B"), (choice_accuracy_per_byte, "C")],
)
@pytest.mark.parametrize("target", "ABC")
def test_the_likeliest_choice_by_sum_by_token_and_by_byte(function, answer, target):
    asked = choice_sample(choices=("x", "y", "z"), targets=(target,))

    assert function(THREE, asked) == Measure(float(answer == target), answer=answer)


@pytest.mark.parametrize("function", CHOOSERS)
def test_the_first_of_equals_wins(function):
    equal = weighed((-5.0, 2, 4), (-2.0, 2, 4), (-2.0, 2, 4), (-3.0, 2, 4))

    assert function(equal, choice_sample()).answer == "B"


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("function", CHOOSERS)
def test_a_log_likelihood_that_is_not_finite_is_our_failure_even_where_it_would_not_win(function, broken):
    with pytest.raises(UnusableResponse, match=r"log-likelihood 3 of sample 's-1' is"):
        function(weighed((-1.0, 1, 1), (-2.0, 1, 1), (-3.0, 1, 1), (broken, 1, 1)), choice_sample())


@pytest.mark.parametrize("function", CHOOSERS)
@pytest.mark.parametrize("likelihoods", [[], [(-1.0, 1, 1)] * 3])
def test_a_response_without_one_likelihood_per_choice_is_our_failure(function, likelihoods):
    with pytest.raises(UnusableResponse):
        function(weighed(*likelihoods), choice_sample())


def test_a_count_of_nothing_is_our_failure():
    nothing = weighed(*[(-1.0, 0, 0)] * 4)

    assert choice_accuracy(nothing, choice_sample()).answer == "A"
    with pytest.raises(UnusableResponse, match="0 tokens"):
        choice_accuracy_per_token(nothing, choice_sample())
    with pytest.raises(UnusableResponse, match="0 bytes"):
        choice_accuracy_per_byte(nothing, choice_sample())


@pytest.mark.parametrize("targets", [(), ("grey",), ("A", "B")])
def test_choices_need_exactly_one_target_label(targets):
    with pytest.raises(InvalidData, match=r"fields\.targets"):
        choice_accuracy(weighed(*[(-1.0, 1, 1)] * 4), choice_sample(targets=targets))


def test_perplexity_of_a_corpus_is_over_its_tokens_and_not_the_mean_of_perplexities():
    texts = [perplexity(weighed((-2.0, 1, 9)), sample()), perplexity(weighed((-4.0, 8, 9)), sample())]
    pooled = [sum(column) for column in zip(*(t.statistics for t in texts), strict=True)]

    assert [t.value for t in texts] == pytest.approx([math.exp(2), math.exp(0.5)])
    assert get_metric("perplexity").corpus(pooled) == pytest.approx(math.exp(6 / 9))


def test_bits_per_byte_of_a_corpus_is_over_its_bytes():
    texts = [
        bits_per_byte(weighed((-8 * math.log(2), 5, 4)), sample()),
        bits_per_byte(weighed((-math.log(2), 5, 5)), sample()),
    ]
    pooled = [sum(column) for column in zip(*(t.statistics for t in texts), strict=True)]

    assert [t.value for t in texts] == pytest.approx([2.0, 0.2])
    assert get_metric("bits_per_byte").corpus(pooled) == pytest.approx(1.0)


def test_with_choices_the_perplexity_is_that_of_the_right_one():
    several = weighed((-9.0, 3, 3), (-3.0, 3, 3), (-9.0, 3, 3), (-9.0, 3, 3))

    assert perplexity(several, choice_sample(targets=("B",))).value == pytest.approx(math.e)


@pytest.mark.parametrize("function", [perplexity, bits_per_byte])
@pytest.mark.parametrize("likelihoods", [[], [(math.nan, 1, 1)], [(-1.0, 0, 0)], [(-1.0, 1, 1)] * 2])
def test_a_text_that_cannot_be_measured_is_our_failure(function, likelihoods):
    with pytest.raises(UnusableResponse):
        function(weighed(*likelihoods), sample())


def test_a_perplexity_out_of_range_is_our_failure():
    with pytest.raises(UnusableResponse, match="out of range"):
        perplexity(weighed((-1e6, 1, 1)), sample())


def test_likelihood_metrics_say_what_they_are():
    declared = {n: get_metric(n) for n in ("choice_accuracy", "perplexity", "bits_per_byte")}

    assert {n: (m.unit, m.higher_is_better, m.no_answer) for n, m in declared.items()} == {
        "choice_accuracy": ("fraction", True, None),
        "perplexity": ("perplexity", False, None),
        "bits_per_byte": ("bits_per_byte", False, None),
    }
    assert declared["choice_accuracy"].kinds == {"choices", "perplexity"}
    assert declared["perplexity"].kinds == {"perplexity"}
