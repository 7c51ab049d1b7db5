import re

import pytest

from llm_eval.errors import InvalidData, InvalidSpec
from llm_eval.records import Sample
from llm_eval.sampling import Rows, to_samples
from llm_eval.specs import DatasetSpec, Fields
from tests.builders import DATASET, rows

PLAIN = {"input": "{{ q }}"}


def dataset(**changes):
    return DatasetSpec.model_validate({**DATASET, **changes})


def samples(fields, *lines, subset="", **changes):
    spec = dataset(**({"subsets": [subset]} if subset else {}), **changes)
    return to_samples(spec, Rows(Fields.model_validate(fields), tuple((subset, line) for line in lines)))


def test_a_row_becomes_a_sample():
    (sample,) = samples(DATASET["fields"] | {"metadata": {"source": "{{ origin }}"}}, *rows(1, origin="book"))

    assert sample == Sample(
        id="0",
        subset="",
        input="Which colour has number 0?",
        targets=("A",),
        choices=("red", "green", "blue", "grey"),
        metadata={"source": "book"},
    )


def test_targets_and_choices_may_be_several_templates():
    (sample,) = samples(
        PLAIN | {"targets": ["{{ a }}", "{{ b }}"], "choices": ["{{ b }}!", "x"]}, {"q": 1, "a": 2, "b": 3}
    )

    assert (sample.targets, sample.choices) == (("2", "3"), ("3!", "x"))


def test_targets_may_be_one_expression_that_yields_a_list():
    (sample,) = samples(PLAIN | {"targets": "{{ aliases }}"}, {"q": "?", "aliases": ["Rome", "Roma"]})

    assert sample.targets == ("Rome", "Roma")


def test_values_keep_their_blanks_and_line_ends():
    (sample,) = samples(PLAIN | {"choices": ["{{ a }}"]}, {"q": " Which?\n", "a": "one "})

    assert (sample.input, sample.choices) == (" Which?\n", ("one ",))


def test_templates_see_the_subset_its_title_and_the_rows_place_within_it():
    fields = {"input": "{{ subset }}|{{ subset_title }}|{{ row }}", "id": "{{ row }}"}
    spec = dataset(subsets={"law": "法学", "logic": "逻辑学"})
    lines = tuple((subset, {}) for subset in ("law", "law", "logic"))

    found = to_samples(spec, Rows(Fields.model_validate(fields), lines))

    assert [s.input for s in found] == ["law|法学|0", "law|法学|1", "logic|逻辑学|0"]
    assert [s.id for s in found] == ["law-0", "law-1", "logic-0"]


def test_columns_whose_names_are_no_identifiers_can_be_used():
    (sample,) = samples({"input": "{{ columns['Best Answer'] }}"}, {"Best Answer": "yes", "": "index", "self": 1})

    assert sample.input == "yes"


def test_an_id_without_one_of_its_own_is_a_hash_of_subset_input_and_choices():
    fields = PLAIN | {"choices": "{{ c }}", "targets": "{{ t }}"}
    line = {"q": "What?", "c": ["x", "y"], "t": "A"}

    (here,) = samples(fields, line, subset="law")
    (gold_mended,) = samples(fields, line | {"t": "B", "note": "new column"}, subset="law")
    others = [
        samples(fields, line, subset="logic")[0],
        samples(fields, line | {"q": "What ?"}, subset="law")[0],
        samples(fields, line | {"c": ["y", "x"]}, subset="law")[0],
    ]

    assert here.id.startswith("law-")
    assert len(here.id) == len("law-") + 16
    assert gold_mended.id == here.id
    assert len({here.id, *(o.id for o in others)}) == 4


def test_hash_ids_are_the_same_on_every_machine():
    (sample,) = samples(PLAIN, {"q": "What?"})

    # printf '["","What?",[]]' | sha256sum. A change here orphans every answer that was kept by id.
    assert sample.id == "64315b681fdc591e"


def test_hash_ids_do_not_depend_on_the_order_of_rows():
    there = samples(PLAIN, {"q": "a"}, {"q": "b"})
    back = samples(PLAIN, {"q": "b"}, {"q": "a"})

    assert {s.id: s.input for s in there} == {s.id: s.input for s in back}


def test_equal_questions_are_numbered_in_file_order():
    found = samples(PLAIN, *[{"q": q} for q in "abaaa"])

    assert [s.id.removeprefix(found[0].id) for s in found if s.input == "a"] == ["", "-2", "-3", "-4"]
    assert len({s.id for s in found}) == 5


def test_own_ids_stay_even_if_repeated_for_the_validate_stage_to_refuse():
    found = samples(PLAIN | {"id": "{{ n }}"}, {"q": "a", "n": 7}, {"q": "b", "n": 7}, subset="law")

    assert [s.id for s in found] == ["law-7", "law-7"]


@pytest.mark.parametrize(("own", "id"), [("task_0.a-b", "task_0.a-b"), ("题1", "题1"), ("a/0", r"a-0-[0-9a-f]{8}")])
def test_letters_and_digits_of_any_script_are_safe_in_an_id(own, id):
    (sample,) = samples(PLAIN | {"id": "{{ n }}"}, {"q": "?", "n": own})

    assert re.fullmatch(id, sample.id)


def test_different_ids_stay_different_when_made_safe():
    found = samples(PLAIN | {"id": "{{ n }}"}, *[{"q": "?", "n": n} for n in ("a/0", "a 0", "a-0")])

    assert len({s.id for s in found}) == 3


def test_a_template_that_fails_names_dataset_subset_row_and_the_known_names():
    message = (
        r"dataset 'colours', subset 'law', row 1 \(from 0\): template .*'q' is undefined.*Names.*: columns, p, row"
    )

    with pytest.raises(InvalidSpec, match=message):
        samples(PLAIN, {"q": "a"}, {"p": "b"}, subset="law")


@pytest.mark.parametrize(
    "fields", [PLAIN, {"input": "x", "targets": "{{ q }}"}, {"input": "x", "targets": "{{ [q] }}"}]
)
def test_a_null_never_becomes_the_word_none(fields):
    with pytest.raises(InvalidSpec, match=r"row 0 .*a value is null"):
        samples(fields, {"q": None})


def test_a_null_may_be_given_a_meaning():
    (sample,) = samples({"input": "{{ q or '' }}"}, {"q": None})

    assert sample.input == ""


def test_more_choices_than_letters_are_refused():
    with pytest.raises(InvalidData, match="27 choices; there are labels for at most 26"):
        samples(PLAIN | {"choices": "{{ c }}"}, {"q": "?", "c": list(range(27))})


def test_the_first_rows_of_each_subset_are_kept_in_order():
    lines = tuple((subset, {"n": n}) for n, subset in enumerate("aabba"))

    kept = Rows(Fields(input="x"), lines).first_of_each_subset(1)

    assert [row["n"] for _, row in kept] == [0, 2]
