"""Conversations of several turns that two runs hold at once: what is kept was said as it stands."""

import itertools

import pytest

from llm_eval import results
from llm_eval.fingerprint import fingerprint
from llm_eval.layout import WHOLE, Layout
from llm_eval.records import Response
from llm_eval.stages import run_stage
from llm_eval.stages.parts import PartWriter
from llm_eval.stages.plan import Wish, plan
from llm_eval.stages.render import read_requests
from llm_eval.stages.responses import latest_of_each
from tests.builders import DATASET, NOON, rows


def first(text: str) -> Response:
    return Response("q", text=text)


def second(text: str, *before: str, attempt: int = 0, error: str | None = None) -> Response:
    return Response("q#2", attempt, None if error else text, error=error, continues=fingerprint(*before))


def third(text: str, *before: str) -> Response:
    return Response("q#3", text=text, continues=fingerprint(*before))


def kept(*responses: Response) -> dict[str, str | None]:
    return {request_id: each.text for (request_id, _), each in sorted(latest_of_each(responses).items())}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_turn_stands_only_after_the_answer_that_it_was_asked_after(order):
    """One run has held the conversation, another has come as far as its first turn."""
    responses = [first("a"), second("a2", "a"), first("b")]
    assert kept(*(responses[place] for place in order)) == {"q": "a", "q#2": "a2"}


def test_of_conversations_of_one_length_the_last_counts():
    assert kept(first("a"), first("b"), second("b2", "b"), second("a2", "a")) == {"q": "b", "q#2": "b2"}
    assert kept(first("b"), first("a"), second("b2", "b"), second("a2", "a")) == {"q": "a", "q#2": "a2"}
    assert kept(first("a"), second("old", "a"), first("a"), second("new", "a")) == {"q": "a", "q#2": "new"}


def test_a_turn_after_an_answer_that_is_gone_has_to_be_asked_again():
    assert kept(second("b2", "b"), first("a")) == {"q": "a"}


def test_a_longer_conversation_goes_before_a_later_one():
    held = [first("a"), second("a2", "a"), third("a3", "a", "a2"), first("b"), second("b2", "b"), second("a9", "a")]
    assert kept(*held) == {"q": "a", "q#2": "a2", "q#3": "a3"}


def test_each_attempt_of_a_last_turn_follows_the_same_conversation():
    answers = [first("a"), second("one", "a"), second("two", "a", attempt=1), first("b"), second("x", "b", attempt=1)]
    found = {key: each.text for key, each in latest_of_each(answers).items()}
    assert found == {("q", 0): "a", ("q#2", 0): "one", ("q#2", 1): "two"}


def test_a_turn_that_failed_is_kept_until_it_is_answered():
    failed = Response("q#2", error="turn 1 has no answer (it was not asked)")
    assert latest_of_each([failed])["q#2", 0].error
    assert kept(first("a"), failed, second("a2", "a")) == {"q": "a", "q#2": "a2"}
    assert kept(first("a"), second("a2", "a"), second("", "a", error="gone")) == {"q": "a", "q#2": "a2"}


def test_the_same_answers_again_and_again_are_looked_at_once():
    """Else forty runs of six turns would be four thousand million ways."""
    turns = [
        Response("q" if n == 1 else f"q#{n}", text="x", continues=None if n == 1 else fingerprint(*"x" * (n - 1)))
        for n in range(1, 7)
    ]
    assert list(kept(*turns * 40).values()) == ["x"] * 6


def test_samples_that_are_called_like_turns_are_none():
    assert kept(Response("q", text="1"), Response("q#2", text="2")) == {"q": "1", "q#2": "2"}


def test_a_run_publishes_what_it_has_heard_while_another_one_is_between_its_turns(house):
    house.jsonl("colours.jsonl", rows(2, more=["And now?"]))
    house.dataset(fields={**DATASET["fields"], "follow_ups": "{{ more }}"})
    house.model(backend={"kind": "scripted", "replies": ["A, says one"]}, chat=True)
    run = plan(house.catalog, house.settings, Wish("canned", "colours"), NOON)
    place = Layout(house.settings.root, run)
    for stage in ("fetch", "validate", "render", "infer"):
        run_stage(stage, place.run_uri, house.settings)
    with PartWriter(place.responses, WHOLE) as others:
        for request in read_requests(place):
            if request.turn == 1:
                others.add(Response(request.id, text="A, says the other"))
    for stage in ("score", "publish"):
        run_stage(stage, place.run_uri, house.settings)

    published = results.samples(house.settings.root, run.run_id, "canned", "colours")
    assert {row.response for row in published} == {"[turn 1]\nA, says one\n\n[turn 2]\nA, says one"}
