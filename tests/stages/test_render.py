from __future__ import annotations

import pytest

from llm_eval.errors import InvalidData, InvalidSpec
from llm_eval.prompts import chat_prompt, text_prompt
from llm_eval.records import Message, Shot
from llm_eval.stages.fetch import limited
from llm_eval.stages.render import render_requests
from tests.builders import choice_sample, sample

POOL = [choice_sample(f"shot-{i}", input=f"Shot {i}?", targets=("ABCD"[i],), subset="law") for i in range(3)]


def render(house, samples, pool=(), chat=False, **prompt):
    house.dataset(
        prompt={"kind": "generate", "template": "Q: {{ input }}\nA:", **prompt},
        subsets=["law"],
        extract=["declared_choice"] if prompt.get("kind", "generate") == "generate" else [],
    )
    return list(render_requests(house.catalog.dataset("colours"), chat, samples, pool))


def test_a_text_prompt_is_header_shots_and_question(house):
    (request,) = render(
        house,
        [choice_sample(subset="law")],
        POOL,
        header="About {{ subset_title }}.\n\n",
        few_shot={"count": 2},
        answer=" {{ target }}",
        separator="\n\n",
    )

    assert text_prompt(request, 2) == "About law.\n\nQ: Shot 0?\nA: A\n\nQ: Shot 1?\nA: B\n\nQ: What is it?\nA:"
    assert text_prompt(request, 0) == "About law.\n\nQ: What is it?\nA:"


def test_a_chat_prompt_has_shots_as_turns_after_the_system_turn(house):
    (request,) = render(
        house,
        [choice_sample(subset="law")],
        POOL,
        chat=True,
        header="About {{ subset }}.\n",
        system="Be brief.",
        few_shot={"count": 1},
    )

    assert chat_prompt(request, 1) == (
        Message("system", "Be brief."),
        Message("user", "About law.\nQ: Shot 0?\nA:"),
        Message("assistant", "A"),
        Message("user", "Q: What is it?\nA:"),
    )


def test_without_shots_the_header_opens_the_question_itself(house):
    (request,) = render(house, [choice_sample(subset="law")], POOL, chat=True, header="H ", few_shot={"count": 1})

    assert chat_prompt(request, 0) == (Message("user", "H Q: What is it?\nA:"),)


@pytest.mark.parametrize(("chat", "continuation"), [(False, " A"), (True, "A")])
def test_the_space_before_a_choice_belongs_to_the_continuation_of_plain_text_only(house, chat, continuation):
    (request,) = render(house, [choice_sample(subset="law")], chat=chat, kind="choices")

    assert request.continuations[0] == continuation


def test_a_perplexity_prompt_without_choices_is_the_text_itself(house):
    (request,) = render(house, [sample(subset="law")], kind="perplexity", template="{{ input }}")

    assert (request.text, request.continuations) == ("What is it?", ("",))


def test_fixed_rows_are_taken_in_the_order_they_are_named(house):
    (request,) = render(house, [choice_sample(subset="law")], POOL, few_shot={"select": "fixed", "rows": [2, 0]})

    assert [s.user for s in request.shots] == ["Q: Shot 2?\nA:", "Q: Shot 0?\nA:"]


def test_written_out_examples_stand_as_they_are(house):
    examples = [{"user": "Q: 1+1?\nA:", "assistant": " 2"}]

    (request,) = render(house, [choice_sample(subset="law")], few_shot={"select": "fixed", "examples": examples})

    assert request.shots == (Shot("Q: 1+1?\nA:", " 2\n\n"),)


def test_too_few_rows_for_the_shots_are_named(house):
    with pytest.raises(InvalidData, match="asks for row 4 of the few-shot split of subset 'law', which has 3"):
        render(house, [choice_sample(subset="law")], POOL, few_shot={"count": 5})


def test_the_right_answer_is_out_of_reach_of_the_question(house):
    with pytest.raises(InvalidSpec, match="'target' is undefined"):
        render(house, [choice_sample(subset="law")], template="{{ input }} {{ target }}")


def test_what_looks_like_a_template_in_the_data_stays_text(house):
    (request,) = render(house, [sample(subset="law", input="{{ 7 * 7 }} {input}")])

    assert request.text == "Q: {{ 7 * 7 }} {input}\nA:"


def test_a_limit_draws_from_everywhere_keeps_order_and_nests():
    samples = [sample(f"s-{i}") for i in range(1000)]

    ten, hundred = limited(samples, 10), limited(samples, 100)

    assert [s.id for s in hundred] == [s.id for s in samples if s in hundred]
    assert {s.id for s in ten} < {s.id for s in hundred}
    assert sum(int(s.id[2:]) < 500 for s in hundred) in range(35, 66)
    assert limited(samples, None) == samples == limited(samples, 5000)
