"""A checkpoint's report and the gate that judges it."""

from __future__ import annotations

import pytest

from llm_eval import comparison
from llm_eval.catalog import parse
from llm_eval.comparison import build_report
from llm_eval.errors import InputError, InvalidSpec
from llm_eval.records import Score
from llm_eval.specs import Gate, SuiteSpec
from tests.comparison.builders import checkpoint, publish, right


@pytest.fixture
def root(tmp_path):
    return str(tmp_path)


def suite(*datasets, **changes):
    fields = {"name": "nightly", "models": ["tiny"], "datasets": datasets or ["mmlu"]}
    return SuiteSpec.model_validate({**fields, **changes})


def publish_checkpoints(root, *shares, of=2000, **fields):
    """Checkpoint 1, 2, …, each right on so many of `of` samples."""
    for number, share in enumerate(shares, 1):
        publish(root, right(round(share * of), of), **{**checkpoint(number), **fields})


def reasons(root, number, *datasets, **gate):
    spec = suite(*datasets, gate=gate)
    return comparison.gate(build_report(root, spec, "tiny", f"step-{number}"), spec.gate)


def test_each_dataset_is_compared_with_the_checkpoint_before(root):
    publish_checkpoints(root, 0.5, 0.4, 0.45)

    (row,) = build_report(root, suite(), "tiny", "step-3").rows

    assert (row.dataset, row.value, row.previous.checkpoint, row.previous.before) == ("mmlu", 0.45, "step-2", 0.4)
    assert row.previous.difference == pytest.approx(0.05)
    assert row.previous.verdict == "better"


def test_before_means_created_before_whichever_was_evaluated_first(root):
    publish(root, right(50, 100), **checkpoint(2), evaluated_at="2026-03-01T00:00:00Z")
    publish(root, right(60, 100), **checkpoint(9), evaluated_at="2026-02-01T00:00:00Z")
    publish(root, right(70, 100), **checkpoint(5), evaluated_at="2026-03-09T00:00:00Z")

    (row,) = build_report(root, suite(), "tiny", "step-5").rows

    assert row.previous.checkpoint == "step-2"


def test_limited_results_and_other_versions_are_not_compared_with(root):
    publish(root, right(50, 100), **checkpoint(1))
    publish(root, right(5, 10), **checkpoint(2), sample_limit=10)
    publish(root, right(50, 100), **checkpoint(3), dataset_version="other")
    publish(root, right(50, 100), **checkpoint(4))

    (row,) = build_report(root, suite(), "tiny", "step-4").rows

    assert row.previous.checkpoint == "step-1"


def test_runs_with_overrides_stand_behind_those_as_the_catalog_says(root):
    overridden = {"params": {"overrides": {"model.backend.dtype": "float16"}}, "evaluated_at": "2026-05-01T00:00:00Z"}
    publish(root, right(50, 100), **checkpoint(1))
    publish(root, right(60, 100), **checkpoint(2), **overridden)
    publish(root, right(55, 100), **checkpoint(3))
    publish(root, right(90, 100), **{**checkpoint(3), "run_id": "tried"}, **overridden)

    (row,) = build_report(root, suite(), "tiny", "step-3").rows

    assert (row.run_id, row.previous.checkpoint) == ("run-3", "step-1")


def test_a_first_checkpoint_has_nothing_to_be_compared_with(root):
    publish_checkpoints(root, 0.5, 0.6)

    report = build_report(root, suite(), "tiny", "step-1")

    assert [row.previous for row in report.rows] == [None]
    assert report.notes == ()


def test_a_dataset_that_changed_says_why_there_is_no_difference(root):
    publish(root, right(50, 100), **checkpoint(1), dataset_version="old")
    publish(root, right(50, 100), **checkpoint(2), dataset_version="new")

    report = build_report(root, suite(), "tiny", "step-2")

    assert report.rows[0].previous is None
    assert report.notes == ("mmlu: no older checkpoint has a full result of version new to compare with.",)


def test_missing_datasets_say_why_in_the_suite_s_order(root):
    publish_checkpoints(root, 0.5)

    known = {"piqa": "late", "gsm8k": "failed"}
    report = build_report(root, suite("arc", "mmlu", "gsm8k", "piqa"), "tiny", "step-1", known)

    assert [row.dataset for row in report.rows] == ["mmlu"]
    assert report.missing == {"arc": "no result", "gsm8k": "failed", "piqa": "late"}


def test_holm_s_correction_is_over_the_suite(root):
    for dataset, after in (("arc", 0.53), ("mmlu", 0.5), ("piqa", 0.5)):
        publish_checkpoints(root, 0.5, after, of=200, dataset=dataset)

    rows = build_report(root, suite("arc", "mmlu", "piqa"), "tiny", "step-2").rows

    assert [row.previous.p_value for row in rows] == [pytest.approx(2 * 0.5**6), 1.0, 1.0]
    assert [row.previous.p_holm for row in rows] == [pytest.approx(6 * 0.5**6), 1.0, 1.0]
    assert [row.previous.verdict for row in rows] == ["no clear difference"] * 3


def test_a_variant_is_a_dataset_of_its_own(root):
    publish_checkpoints(root, 0.5, 0.5, of=50)
    publish(root, right(10, 50), **{**checkpoint(2), "run_id": "ppl"}, variant="ppl")

    report = build_report(root, suite("mmlu_ppl"), "tiny", "step-2")

    assert [(row.dataset, row.run_id) for row in report.rows] == [("mmlu_ppl", "ppl")]


def test_a_real_drop_stops_the_checkpoint(root):
    publish_checkpoints(root, 0.60, 0.55)

    (reason,) = reasons(root, 2, max_drop=0.01)

    assert reason.startswith(
        "mmlu: accuracy is 5.00 points lower than at step-1 (60.00 → 55.00); allowed: 1 points (p "
    )


def test_a_noisy_drop_does_not(root):
    """400 samples change sides, 20 more for the worse: one point, as noise of this size makes every fourth time."""
    before = [1.0] * 1200 + [0.0] * 800
    after = [0.0] * 210 + [1.0] * 990 + [1.0] * 190 + [0.0] * 610
    publish(root, before, **checkpoint(1))
    publish(root, after, **checkpoint(2))

    assert reasons(root, 2, max_drop=0.0) == []


def test_a_sure_drop_within_what_is_allowed_does_not(root):
    publish_checkpoints(root, 0.600, 0.595)

    (row,) = build_report(root, suite(), "tiny", "step-2").rows
    assert row.previous.verdict == "worse"
    assert reasons(root, 2, max_drop=0.01) == []


def test_the_more_datasets_the_surer_a_drop_must_be(root):
    """Six samples lost, none gained: p = 1/64, below 0.05 alone, but not as one of four."""
    publish_checkpoints(root, 0.5, 0.47, of=200)
    for dataset in ("arc", "gsm8k", "piqa"):
        publish_checkpoints(root, 0.5, 0.5, of=200, dataset=dataset)

    assert len(reasons(root, 2, "mmlu", max_drop=0.0)) == 1
    assert reasons(root, 2, "mmlu", "arc", "gsm8k", "piqa", max_drop=0.0) == []


def test_against_the_best_before_it_and_corrected_for_how_many_there_were(root):
    publish_checkpoints(root, 0.5, 0.7, 0.5, 0.6)

    (row,) = build_report(root, suite(gate={"max_drop": 0.01, "against": "best"}), "tiny", "step-4").rows

    assert row.previous.checkpoint == "step-3"
    assert (row.gate.change.checkpoint, row.gate.candidates) == ("step-2", 3)
    assert reasons(root, 4, max_drop=0.01) == []
    assert reasons(root, 4, max_drop=0.01, against="best")[0].startswith(
        "mmlu: accuracy is 10.00 points lower than at step-2, the best of 3 (70.00 → 60.00)"
    )


def test_the_luck_of_the_best_is_taken_into_account(root):
    """p = 1/64 against one checkpoint is no alarm against the best of five."""
    publish_checkpoints(root, 0.5, 0.4, 0.4, 0.4, 0.4, 0.47, of=200)

    assert len(reasons(root, 6, max_drop=0.0, against="step-1")) == 1
    assert reasons(root, 6, max_drop=0.0, against="best") == []


def test_against_a_checkpoint_by_name(root):
    publish_checkpoints(root, 0.7, 0.5, 0.6)

    assert reasons(root, 3, max_drop=0.01, against="step-2") == []
    assert "than at step-1" in reasons(root, 3, max_drop=0.01, against="step-1")[0]


def test_a_name_without_results_is_not_checked_and_said_so(root):
    publish_checkpoints(root, 0.5, 0.4)
    spec = suite(gate={"max_drop": 0.01, "against": "release-1"})

    report = build_report(root, spec, "tiny", "step-2")

    assert comparison.gate(report, spec.gate) == []
    assert report.notes == ("mmlu: not checked by the gate, there is no full result of 'release-1' to compare with.",)


def test_a_checkpoint_is_not_held_against_itself(root):
    publish_checkpoints(root, 0.5, 0.4)

    report = build_report(root, suite(gate={"max_drop": 0.01, "against": "step-2"}), "tiny", "step-2")

    assert ([row.gate for row in report.rows], report.notes) == ([None], ())


def perplexities(level):
    """Log-likelihoods around -level; pooled, a perplexity of exp(1.0594 level)."""
    return [
        Score(f"s-{i}", "", 0, "perplexity", 3.0, "scored", statistics=(-level * (1 + (i % 7) / 50), 1.0))
        for i in range(200)
    ]


def test_where_lower_is_better_a_rise_is_a_drop_and_its_measure_a_share_of_the_value(root):
    publish(root, scores=perplexities(2.0), **checkpoint(1))
    publish(root, scores=perplexities(2.1), **checkpoint(2))
    publish(root, scores=perplexities(2.0), **checkpoint(3))

    (reason,) = reasons(root, 2, max_drop=0.05)

    assert reason.startswith("mmlu: perplexity is 11.2% higher than at step-1 (8.321 → 9.251); allowed: 5% (p ")
    assert reasons(root, 2, max_drop=0.15) == []
    assert reasons(root, 3, max_drop=0.0) == []


def test_a_report_is_judged_by_the_gate_that_it_was_made_with(root):
    publish_checkpoints(root, 0.6, 0.5)
    report = build_report(root, suite(gate={"max_drop": 0.01}), "tiny", "step-2")

    with pytest.raises(InputError, match=r"made with another gate .max_drop: 0.01.*make the report again"):
        comparison.gate(report, Gate(max_drop=0.02))


@pytest.mark.parametrize(
    ("gate", "fault"),
    [
        ({}, "gate.max_drop: Field required"),
        ({"max_drop": -0.1}, "gate.max_drop: Input should be greater than or equal to 0"),
        ({"max_drop": 1}, "gate.max_drop: Input should be less than 1"),
        ({"max_drop": 0.1, "confidence": 95}, "gate.confidence: Input should be less than 1"),
        ({"max_drop": 0.1, "than": "best"}, "gate.than: unknown key"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(gate, fault):
    with pytest.raises(InvalidSpec, match=fault):
        parse(SuiteSpec, {"name": "nightly", "models": ["m"], "datasets": ["d"], "gate": gate}, "nightly.yaml")
