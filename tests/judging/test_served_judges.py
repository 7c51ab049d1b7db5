"""What only a server can give a judge: JSON of a schema, and how likely its first tokens were."""

from __future__ import annotations

import json
import math

import pytest

from llm_eval.errors import InvalidSpec
from tests.backends.api_server import said


def test_a_structured_judge_is_sent_its_schema_and_read_by_it(court):
    place = court("right 0", "wrong")
    place.house.judge(verdict={"kind": "rating", "low": 1, "high": 5}, structured=True, read=["json_verdict"])

    with place.judged(lambda asked: json.dumps({"explanation": "…", "verdict": 4, "more": True})) as server:
        rows = place.run()

    assert rows["rating"].value == 4
    sent = server.asked[0]["response_format"]
    assert sent["type"] == "json_schema"
    schema = sent["json_schema"]["schema"]
    assert list(schema["properties"]) == ["explanation", "verdict"]
    assert (schema["properties"]["verdict"]["minimum"], schema["properties"]["verdict"]["maximum"]) == (1, 5)


def likely(**logprobs):
    """A reply whose first token was one of these, the first the likeliest."""
    tokens = [{"token": token, "logprob": value, "bytes": None} for token, value in logprobs.items()]
    reply = said(tokens[0]["token"])
    reply.body["choices"][0]["logprobs"] = {"content": [{**tokens[0], "top_logprobs": tokens}]}
    return reply


PAIRS = {
    "verdict": {"kind": "pairwise", "labels": {"m": "first", "M": "second"}, "probabilities": True},
    "template": "1: {{ first }}\n2: {{ second }}",
    "generation": {"max_tokens": 1, "top_logprobs": 5},
    "read": [],
    "ask_again": None,
}


def against(place, *texts):
    place.house.jsonl("base.jsonl", [{"id": f"q-{i}", "text": text} for i, text in enumerate(texts)])

    place.dataset(judge={"judges": ["grader"], "baselines": [BASE]})


def test_a_preference_is_the_probability_of_the_model_s_letter_over_both_orders(court):
    place = court("mine 0", "mine 1")
    place.house.judge(**PAIRS)
    against(place, "base 0", "base 1")

    def say(asked):
        return likely(m=-0.1, M=-2.4) if asked.startswith("1: mine") else likely(M=-0.5, m=-1.0)

    with place.judged(say):
        rows = place.run()

    first = math.exp(-0.1) / (math.exp(-0.1) + math.exp(-2.4))  # tatsu-lab/alpaca_eval, logprob_parser
    second = math.exp(-0.5) / (math.exp(-0.5) + math.exp(-1.0))
    assert rows["win_rate"].value == pytest.approx((first + second) / 2)
    assert rows["discrete_win_rate"].value == 1
    assert rows["consistency"].value == 1


def test_a_letter_that_is_not_among_the_likeliest_has_no_probability(court):
    place = court("mine 0")
    place.house.judge(**PAIRS)
    against(place, "base 0")

    with place.judged(lambda asked: likely(m=-0.1, The=-3.0) if asked.startswith("1: mine") else likely(M=-0.1)):
        rows = place.run()

    assert rows["win_rate"].value == 1


def test_first_tokens_without_either_letter_have_failed(court):
    place = court("mine 0", "mine 1")
    place.house.judge(**PAIRS)
    against(place, "base 0", "base 1")
    place.dataset(**{"judge": {"judges": ["grader"], "baselines": [BASE]}, "max_failed_fraction": 0.5})

    with place.judged(lambda asked: likely(The=-0.1, A=-3.0) if " 1" in asked else likely(m=-0.1)):
        rows = place.run()

    assert (rows["win_rate"].failed, rows["win_rate"].samples) == (1, 2)


BASE = {"kind": "file", "name": "base", "path": "base.jsonl", "id": "{{ id }}", "text": "{{ text }}"}


def test_a_judge_s_template_that_fails_is_found_before_the_model_is_asked(court):
    place = court("right 0")
    place.house.judge(template="{{ input }} {{ metadata.never_there }}")
    with place.judged(lambda asked: "never asked"):
        _, address = place.planned()
        place.stages(address, "fetch")
        with pytest.raises(InvalidSpec, match=r"judge 'grader', sample 'q-0': .*never_there"):
            place.stages(address, "render")
