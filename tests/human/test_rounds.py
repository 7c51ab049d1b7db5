"""Which questions a round asks, of whom, and what it is called."""

from pathlib import Path

import pytest

from llm_eval import layout, results, tables
from llm_eval.errors import InputError
from llm_eval.human import rounds
from llm_eval.human.report import report
from tests.human.builders import MODELS, RATING, answer, human_rows, prefers, record, start
from tests.human.conftest import DATASET, QUESTIONS


def test_a_round_asks_about_the_same_questions_of_both_models(house):
    house.run()

    made = start(house)

    assert len(made.items) == 4
    assert [item.position for item in made.items] == [1, 2, 3, 4]
    for item, key in zip(made.items, made.keys, strict=True):
        assert item.question == f"Question {key.sample_id}?"
        assert item.answers == tuple(f"{model[0]}-text {key.sample_id}" for model in key.models)
    assert sorted(key.models[0] for key in made.keys) == ["ada", "ada", "bob", "bob"]  # each is first half of the time
    assert made.notes == ()


def test_the_seed_decides_and_is_kept(house):
    house.run()

    first, again, other = (start(house, seed, name) for seed, name in (("a", "one"), ("a", "two"), ("b", "three")))

    assert (first.items, first.keys) == (again.items, again.keys)
    assert other.items != first.items
    assert rounds.read(first.address).seed == "a"


def test_a_round_that_is_there_is_not_picked_again(house):
    house.run()
    first = start(house)
    house.asks({"kind": "preference"}, samples=2)

    assert start(house, seed="another") == first


def test_nothing_that_raters_see_names_a_model_or_a_run(house):
    house.run()
    made = start(house)

    shown = layout.join(made.address, "items.parquet")
    text = str(tables.to_table(type(made.items[0]), made.items).to_pylist())

    assert not [name for name in MODELS if name in text]
    assert not [name.encode() for name in MODELS if name.encode() in Path(shown).read_bytes()]


def test_a_model_without_a_run_is_left_out_and_named(house):
    house.asks(RATING)
    house.run("ada")

    made = start(house)

    assert {key.models for key in made.keys} == {("ada",)}
    assert made.notes == ("bob on colours: not asked about: no run has been published",)


def test_a_round_about_nothing_is_refused(house):
    with pytest.raises(InputError, match=r"suite 'panel': .* ada on colours: not asked about: no run has been pub"):
        start(house)


def test_a_model_that_wrote_nothing_is_not_asked_about(house):
    house.jsonl("colours.jsonl", [{"id": 0, "question": "?", "choices": ["a", "b"], "answer": "A"}])
    house.dataset(
        metrics=["choice_accuracy"],
        extract=[],
        prompt={"kind": "choices", "template": "{{ input }}", "continuation": " {{ label }}"},
    )
    house.model(name="ada", backend={"kind": "scripted"})
    house.model(name="bob", backend={"kind": "scripted"})
    house.run()

    with pytest.raises(InputError, match="ada on colours: not asked about: the model was not asked to write"):
        start(house)


def test_without_disagreement_items_are_picked_at_random_and_it_is_said(house):
    house.asks({"kind": "preference"}, pick="disagreement")
    house.run()

    made = start(house)

    assert {key.picked for key in made.keys} == {"random"}
    assert made.notes == (
        "colours, ada and bob: 4 of 4 items were picked at random: on no further sample do LLM judges disagree, or "
        "none has judged it",
    )


def test_a_model_is_compared_with_the_baseline_of_its_judge(house):
    house.run("bob")
    house.asks({"kind": "preference", "against": "baseline"}, models=["ada"])
    house._yaml(
        "judges",
        {
            "name": "pairs",
            "model": "canned",
            "verdict": {"kind": "pairwise", "labels": {"A": "first", "B": "second"}, "both_orders": False},
            "template": "{{ first }} or {{ second }}",
            "read": ["whole_reply"],
        },
    )
    house.model(backend={"kind": "scripted", "replies": ["A"]})
    judge = {"judges": ["pairs"], "baselines": [{"kind": "run", "model": "bob"}]}
    house.dataset(**DATASET, judge=judge)
    house.run("ada")
    made = start(house)
    record(made, *(answer(made, item, side) for item, side in zip(made.items, prefers(made, "ada"), strict=True)))

    outcome = report(house.settings.root, made)

    assert [(row.model, row.value, row.samples) for row in human_rows(house)] == [("ada", 1.0, 4)]
    assert {(row.second, row.metric, row.statistic) for row in outcome.agreement} == {
        ("pairs", "win_rate", "percent_agreement"),
        ("pairs", "win_rate", "cohen_kappa"),
    }
    assert {row.n for row in outcome.agreement} == {4}


@pytest.mark.parametrize("name", ["panel", "panel/round-1"])
def test_a_round_is_found_by_its_suite_or_its_name(house, name):
    house.run()
    made = start(house)

    assert rounds.find(house.settings.root, name) == made


@pytest.mark.parametrize("name", ["other", "panel/round-9"])
def test_a_round_that_is_not_there_is_named(house, name):
    house.run()
    start(house)

    with pytest.raises(InputError, match="llm-eval human"):
        rounds.find(house.settings.root, name)


def test_a_question_is_shown_with_its_choices_and_a_conversation_with_its_turns(house):
    fields = {**DATASET["fields"], "choices": "{{ choices }}", "follow_ups": ["Why {{ id }}?"]}
    house.jsonl("colours.jsonl", [{"id": 0, "question": "Which?", "choices": ["red", "blue"], "answer": "A"}])
    house.dataset(**{**DATASET, "fields": fields})
    house.model(name="ada", backend={"kind": "scripted", "replies": ["Because."]}, chat=True)
    house.asks(RATING, models=["ada"], samples=1)
    house.run("ada")

    (item,) = start(house).items

    assert item.question == "[turn 1]\nWhich?\nA. red\nB. blue\n\n[turn 2]\nWhy 0?"
    assert item.answers == ("[turn 1]\nBecause.\n\n[turn 2]\nBecause.",)


def test_answers_that_failed_are_not_asked_about(house):
    house.dataset(**DATASET, max_failed_fraction=1.0)
    house.model(name="ada", backend={"kind": "scripted", "failing": 0.5})
    house.asks(RATING, models=["ada"], samples=QUESTIONS)
    house.run("ada")
    (row,) = (r for r in results.summary(house.settings.root, models=["ada"]) if r.headline)
    assert 0 < row.failed < QUESTIONS

    made = start(house)

    assert len(made.items) == QUESTIONS - row.failed
    assert made.notes == (f"colours, ada: only {len(made.items)} samples have answers, of {QUESTIONS} asked for",)


def test_models_that_were_asked_different_questions_are_not_compared(house):
    house.run("ada")
    house.jsonl("colours.jsonl", [{"id": i, "question": f"Another {i}?", "answer": "A"} for i in range(QUESTIONS)])
    house.run("bob")

    with pytest.raises(InputError, match="colours, ada and bob: they were asked different questions"):
        start(house)


def test_of_three_models_each_is_compared_with_each(house):
    house.answers("eve", {i: f"e-text {i}" for i in range(QUESTIONS)})
    house.asks({"kind": "preference"}, models=["ada", "bob", "eve"], samples=1)
    house.run("ada", "bob", "eve")
    made = start(house)
    keys = {key.item_id: key for key in made.keys}
    assert sorted(tuple(sorted(key.models)) for key in made.keys) == [("ada", "bob"), ("ada", "eve"), ("bob", "eve")]
    record(
        made,
        *(answer(made, i, ("first", "second")[keys[i.id].models.index(min(keys[i.id].models))]) for i in made.items),
    )

    report(house.settings.root, made)

    assert {row.model: (row.value, row.samples) for row in human_rows(house)} == {
        "ada": (1.0, 1),
        "bob": (0.5, 1),
        "eve": (0.0, 1),
    }
