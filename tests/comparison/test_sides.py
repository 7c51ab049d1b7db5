"""What A and B may be, and all that they have in common."""

from __future__ import annotations

import pytest

from llm_eval.comparison import compare_sides, side
from llm_eval.errors import InputError
from tests.comparison.builders import checkpoint, publish, right


@pytest.fixture
def root(tmp_path):
    return str(tmp_path)


def run_ids(found):
    return {dataset: row.run_id for dataset, row in found.headlines.items()}


def test_a_model_stands_for_its_newest_checkpoint(root):
    for number in (2, 10):
        publish(root, [1, 0], **checkpoint(number))

    found = side(root, "tiny")

    assert (found.label, run_ids(found)) == ("tiny@step-10", {"mmlu": "run-10"})


def test_a_checkpoint_stands_for_its_newest_full_runs(root):
    publish(root, [1, 0], **checkpoint(1), evaluated_at="2026-02-01T00:00:00+00:00")
    publish(root, [1, 1], **{**checkpoint(1), "run_id": "newer"}, evaluated_at="2026-02-02T00:00:00+00:00")
    publish(root, [1], **{**checkpoint(1), "run_id": "limited"}, sample_limit=1, evaluated_at="2026-02-03T00:00:00Z")
    publish(root, [1, 0], **{**checkpoint(1), "run_id": "ppl"}, variant="ppl")

    assert run_ids(side(root, "tiny@step-1")) == {"mmlu": "newer", "mmlu_ppl": "ppl"}


def test_a_run_is_named_by_its_id_or_its_address(root):
    publish(root, [1, 0], run_id="mine", variant="ppl")

    assert run_ids(side(root, "mine")) == {"mmlu_ppl": "mine"}
    assert run_ids(side("elsewhere", f"{root}/runs/tiny/mmlu_ppl/mine")) == {"mmlu_ppl": "mine"}


def test_an_id_that_a_scheduler_gave_to_several_datasets_stands_for_all_of_them(root):
    for dataset in ("mmlu", "gsm8k"):
        publish(root, [1, 0], run_id="nightly", dataset=dataset)

    assert run_ids(side(root, "nightly")) == {"gsm8k": "nightly", "mmlu": "nightly"}


def test_an_id_of_several_models_is_asked_to_be_an_address(root):
    for model in ("tiny", "big"):
        publish(root, [1, 0], run_id="nightly", model=model)

    with pytest.raises(InputError, match=r"several runs; name one by its address: .*/runs/big/mmlu/nightly or "):
        side(root, "nightly")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tinny", "'tinny' is no model"),
        ("@step-1", "'@step-1' is no model"),
        ("tiny@step-9", "checkpoint 'step-9' of model 'tiny' has no result. Evaluated: step-1"),
        ("x/runs/tiny/mmlu/gone", "has not published results"),
        ("x/runs/mmlu/gone", "is not a run"),
    ],
)
def test_what_stands_for_nothing_is_refused(root, text, message):
    publish(root, [1, 0], **checkpoint(1))

    with pytest.raises(InputError, match=message):
        side(root, text)


def family(root, *datasets):
    return compare_sides(side(root, "old"), side(root, "new"), datasets, 0.95)


def test_holm_s_correction_is_over_all_common_datasets(root):
    for dataset, kept in (("arc", 60), ("mmlu", 100)):
        publish(root, right(100, 200), model="old", dataset=dataset)
        publish(root, right(kept, 200), model="new", dataset=dataset)
    publish(root, [1, 0], model="new", dataset="gsm8k")

    found = family(root)

    arc, mmlu = (c.difference.p_value for c in found.comparisons)
    assert found.p_holm == (2 * arc, mmlu) == (2 * arc, 1.0)
    assert found.alone == ("gsm8k",)


def test_only_the_datasets_asked_for_a_name_standing_for_its_variants(root):
    for model in ("old", "new"):
        for dataset, variant in (("mmlu", None), ("mmlu", "ppl"), ("arc", None)):
            publish(root, [1, 0], model=model, dataset=dataset, variant=variant, run_id=f"{model}{dataset}{variant}")

    assert [c.second.variant for c in family(root, "mmlu").comparisons] == [None, "ppl"]
    assert [c.second.variant for c in family(root, "mmlu_ppl").comparisons] == ["ppl"]


def test_what_cannot_be_compared_is_named_beside_what_can(root):
    for model in ("old", "new"):
        publish(root, [1, 0], model=model, dataset="arc")
        publish(root, [1, 0], model=model, dataset="mmlu", dataset_version=f"of-{model}")

    found = family(root)

    assert [c.second.dataset for c in found.comparisons] == ["arc"]
    assert list(found.refused) == ["mmlu"]
    assert "dataset_version is 'of-old' in the one, 'of-new' in the other" in found.refused["mmlu"]
    with pytest.raises(InputError, match="dataset_version"):
        family(root, "mmlu")


def test_sides_without_a_common_dataset_are_refused(root):
    publish(root, [1, 0], model="old", dataset="arc")
    publish(root, [1, 0], model="new", dataset="mmlu")

    with pytest.raises(InputError, match=r"no dataset in common\. old: arc\. new: mmlu"):
        family(root)


def test_a_run_is_not_compared_with_itself(root):
    publish(root, [1, 0])

    with pytest.raises(InputError, match="compared with itself"):
        compare_sides(side(root, "tiny"), side(root, "run-1"), (), 0.95)
