"""What is said of answering while it goes on, where no terminal shows a bar."""

from __future__ import annotations

import itertools

import pytest

from llm_eval.records import Request, Response
from llm_eval.stages import progress
from llm_eval.stages.progress import Progress
from tests.builders import request, response


@pytest.fixture
def lines(caplog, monkeypatch):
    """Lines logged by `Progress` when each response takes ten seconds."""
    caplog.set_level("INFO")
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))

    def said(requests: list[Request], responses: list[Response], attempts: int = 1) -> list[str]:
        with Progress("infer 0/1", requests, attempts) as bar:
            for one in responses:
                bar.advance(one)
        return caplog.messages

    return said


def questions(*lengths: int) -> list[Request]:
    """Prompts of so many characters, one of them a continuation."""
    return [request(f"s-{i}", text="x" * (length - 1)) for i, length in enumerate(lengths)]


def test_reading_and_writing_are_told_apart(lines):
    answer = {"prefill_tokens": 100, "reused_tokens": 300, "prefill_seconds": 4.0, "output_tokens": 12}

    said = lines(questions(50, 50), [response("s-0", latency_seconds=10.0, **answer)])

    assert said == [
        "infer 0/1: 1 of 2, prefill 25 tokens/s, decode 2 tokens/s, 75% of prompt tokens reused, 0:00:10 left"
    ]


def test_what_is_left_to_read_counts_by_its_length(lines):
    said = lines(questions(900, 50, 50), [response("s-0", prefill_tokens=90, prefill_seconds=9.0, latency_seconds=9.0)])

    assert said == ["infer 0/1: 1 of 3, prefill 10 tokens/s, 0:00:01 left"]


def test_what_is_left_to_write_counts_by_answers(lines):
    answer = {"prefill_tokens": 1, "prefill_seconds": 1e-6, "output_tokens": 60, "latency_seconds": 10.0}

    said = lines(questions(900, 50), [response("s-1", **answer), response("s-1", attempt=1, **answer)], attempts=2)

    assert [line.rpartition(", ")[2] for line in said] == ["0:00:30 left", "0:00:20 left"]


def test_a_backend_that_says_nothing_gets_an_estimate_by_the_clock(lines):
    said = lines(questions(10, 900, 900), [response("s-0"), response("s-1", input_tokens=80, output_tokens=20)])

    assert said == ["infer 0/1: 1 of 3, 0:00:20 left", "infer 0/1: 2 of 3, 5 tokens/s, 0:00:10 left"]
