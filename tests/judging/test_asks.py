"""What a judge is shown, in which order, and what it is asked again."""

from __future__ import annotations

import pytest

from llm_eval.errors import InvalidSpec
from llm_eval.judging.asks import again, asks_of, generation_of
from llm_eval.records import Response
from tests.builders import PAIR, RATING, choice_sample, judge, sample, subject


def text(ask):
    return ask.request.messages[-1].content


def test_a_judge_sees_question_reference_and_answer():
    spec = judge(
        system="Be fair.",
        template="{{ input }}|{{ reference }}|{{ answer }}|{{ words }}|{{ turn }}|{{ subset }}|{{ subset_title }}",
    )
    shown = subject("deep red", sample=sample(subset="art", targets=("red", "rot")), subset_title="Fine arts")

    (ask,) = asks_of(shown, spec, chat=True)

    assert [(m.role, m.content) for m in ask.request.messages] == [
        ("system", "Be fair."),
        ("user", "What is it?|red|deep red|2|1|art|Fine arts"),
    ]


def test_a_judge_that_takes_plain_text_gets_both_as_one():
    (ask,) = asks_of(subject(), judge(system="Be fair.", template="{{ answer }}?"), chat=False)

    assert (ask.request.messages, ask.request.text) == (None, "Be fair.\n\nred?")


def test_the_right_choice_is_shown_with_its_text():
    (ask,) = asks_of(subject(sample=choice_sample(targets=("B",))), judge(template="{{ reference }}"), chat=True)

    assert text(ask) == "B. green"


def test_an_unknown_name_in_a_template_is_named():
    with pytest.raises(InvalidSpec, match="'first' is undefined"):
        asks_of(subject(), judge(template="{{ first }}"), chat=True)


def test_a_pair_is_asked_in_both_orders_and_each_knows_the_model_s_place():
    one, other = asks_of(subject("mine", "theirs"), judge(**PAIR), chat=True)

    assert (one.order, one.place, text(one)) == ("as_is", 0, "What is it?\n[A]mine[/A]\n[B]theirs[/B]")
    assert (other.order, other.place, text(other)) == ("swapped", 1, "What is it?\n[A]theirs[/A]\n[B]mine[/B]")


def test_asked_once_the_model_s_side_is_drawn_evenly_and_always_the_same():
    once = judge(**{**PAIR, "verdict": {**PAIR["verdict"], "both_orders": False}})
    orders = [asks_of(subject("m", "t", sample=sample(f"s-{i}")), once, chat=True)[0].order for i in range(400)]

    assert 160 < orders.count("as_is") < 240
    assert orders == [asks_of(subject("m", "t", sample=sample(f"s-{i}")), once, chat=True)[0].order for i in range(400)]


def test_a_ranking_shows_all_answers_at_drawn_places_and_then_the_other_way_round():
    spec = judge(
        verdict={"kind": "ranking"},
        template="{% for a in answers %}{{ labels_shown[loop.index0] }}={{ a }} {% endfor %}",
    )
    places = []
    for i in range(60):
        one, other = asks_of(subject("mine", "x", "y", sample=sample(f"s-{i}")), spec, chat=True)
        shown = [pair.split("=")[1] for pair in text(one).split()]
        assert [pair.split("=")[1] for pair in text(other).split()] == shown[::-1]
        assert shown[one.place] == "mine" == shown[::-1][other.place]
        places.append(one.place)

    assert set(places) == {0, 1, 2}


def test_a_conversation_is_shown_up_to_the_turn_that_is_judged():
    spec = judge(
        template="{% for t in turns %}{{ t.user }}>{{ t.assistant }}>{{ t.reference }};{% endfor %}{{ turn }} {{ input }}"  # noqa: E501
    )
    talk = sample(input="One?", follow_ups=("Two?",), targets=("1",))

    (first,) = asks_of(subject(sample=talk, turn=1, answers=("eins",)), spec, chat=True)
    (second,) = asks_of(subject(sample=talk, turn=2, answers=("eins", "zwei")), spec, chat=True)

    assert text(first) == "One?>eins>1;1 One?"
    assert text(second) == "One?>eins>1;Two?>zwei>;2 Two?"


def test_a_request_is_named_by_its_content_alone():
    (one,) = asks_of(subject("red", sample=sample("a")), judge(), chat=True)
    (same,) = asks_of(subject("red", sample=sample("b", subset="z")), judge(), chat=True)
    (other,) = asks_of(subject("blue", sample=sample("a")), judge(), chat=True)

    assert one.request.id == same.request.id != other.request.id


def test_an_unreadable_reply_is_shown_again_with_what_is_wrong_with_it():
    spec = judge(**RATING, ask_again="Wrong: {{ reason }}")
    (ask,) = asks_of(subject(), spec, chat=True)
    (plain,) = asks_of(subject(), spec, chat=False)

    more = again(ask, Response("r", text="well, 11"), "11 is too much", spec)

    assert [(m.role, m.content) for m in more.request.messages[1:]] == [
        ("assistant", "well, 11"),
        ("user", "Wrong: 11 is too much"),
    ]
    assert more.request.id != ask.request.id
    assert again(plain, Response("r", text="11"), "no", spec).request.text == plain.request.text + "11\n\nWrong: no\n"


def test_a_structured_judge_is_held_to_a_schema():
    spec = judge(structured=True, read=["json_verdict"])

    assert generation_of(spec).json_schema["properties"]["verdict"] == {
        "type": "string",
        "enum": ["CORRECT", "INCORRECT"],
    }
    assert generation_of(judge()).json_schema is None


def test_dimensions_that_differ_by_sample_have_no_schema():
    kind = {"kind": "dimensions", "dimensions": "{{ metadata.d }}", "overall": "all"}

    with pytest.raises(InvalidSpec, match="needs `dimensions` as a list"):
        generation_of(judge(verdict=kind, structured=True, read=["json_verdict"]))
