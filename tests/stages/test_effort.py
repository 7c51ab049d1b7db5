"""What answering took, summed over responses."""

from __future__ import annotations

import pytest

from llm_eval.stages.effort import Effort
from tests.builders import response

READ = {"prefill_tokens": 20, "reused_tokens": 60, "prefill_seconds": 0.5, "latency_seconds": 0.5}
WROTE = {"input_tokens": 80, "output_tokens": 30, "latency_seconds": 2.0}


def test_rates_are_of_sums_not_means_of_rates():
    effort = Effort.of([response("a", **{**READ, **WROTE}), response("b", **READ)])

    assert effort.counts() == {
        "input_tokens": 80,
        "output_tokens": 30,
        "prefill_tokens": 40,
        "prefix_reuse_fraction": 0.75,
        "prefill_tokens_per_second": 40.0,
        "decode_tokens_per_second": 20.0,
    }


def test_likelihoods_are_read_and_nothing_is_written():
    effort = Effort.of([response("a", **READ)])

    assert (effort.prefill_tokens_per_second, effort.decode_tokens_per_second) == (40.0, None)


def test_a_prompt_read_with_another_attempt_is_not_read_again():
    first = response("a", prefill_tokens=80, prefill_seconds=1.0, output_tokens=10, latency_seconds=2.0)
    second = response("a", attempt=1, reused_tokens=80, output_tokens=10, latency_seconds=1.0)

    effort = Effort.of([first, second])

    assert (effort.prefix_reuse_fraction, effort.decode_tokens_per_second) == (0.5, 10.0)


@pytest.mark.parametrize("responses", [[], [response("a")], [response("a", **WROTE)]])
def test_a_backend_that_does_not_say_how_long_it_read_has_no_rates(responses):
    effort = Effort.of(responses)

    assert effort.prefill_tokens is None
    assert effort.prefix_reuse_fraction is None
    assert effort.prefill_tokens_per_second is None
    assert effort.decode_tokens_per_second is None


def test_the_percentiles_of_latency_are_numpys_and_leave_out_what_failed():
    import numpy

    seconds = [0.31, 0.2, 4.0, 0.25, 0.22, 0.9]
    answered = [response(f"s-{i}", request_seconds=s, first_token_seconds=s / 10) for i, s in enumerate(seconds)]
    failed = response("f", request_seconds=60.0, first_token_seconds=60.0, error="too late")

    effort = Effort.of([*answered, failed, response("local")])

    expected = [round(float(numpy.percentile(seconds, percent)), 3) for percent in (50, 90, 99)]
    assert [effort.latency_seconds(percent) for percent in (50, 90, 99)] == expected
    assert effort.first_token_p50_seconds == round(expected[0] / 10, 3)
    assert Effort.of([failed]).latency_seconds(50) is None
    assert Effort.of([response("a", request_seconds=0.5)]).latency_seconds(99) == 0.5


@pytest.mark.parametrize(
    ("costs", "total"), [([0.1, 0.2, 0.3], 0.6), ([0.1, None], None), ([None, None], None), ([], None), ([0.0], 0.0)]
)
def test_a_cost_is_told_only_where_that_of_every_answer_is_known(costs, total):
    answered = [response(f"s-{i}", cost_usd=cost) for i, cost in enumerate(costs)]

    assert Effort.of([*answered, response("f", error="refused")]).cost_usd == total
