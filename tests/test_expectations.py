"""Planted defects are found and named; what is allowed is decided before any data is read."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llm_eval import expectations
from llm_eval.errors import InvalidSpec, UnknownName
from llm_eval.expectations import Check, Validation
from llm_eval.records import Sample
from llm_eval.specs import DatasetSpec
from tests.builders import DATASET, choice_sample, sample

ENGLISH = "Which of these colours is the colour of grass?"
CHINESE = "下列哪一种是草的颜色？"


def dataset(*expected: Any, **changes: Any) -> DatasetSpec:
    return DatasetSpec.model_validate({**DATASET, "expectations": list(expected), **changes})


def without_choices(*expected: Any, targets: str = "{{ answer }}") -> DatasetSpec:
    return dataset(*expected, fields={"input": "{{ question }}", "targets": targets or ()})


def broken(samples: list[Sample], spec: DatasetSpec) -> dict[str, tuple[str, ...]]:
    """Examples of each broken rule, by its name."""
    return {check.name: check.examples for check in expectations.validate(samples, spec).broken}


def test_clean_samples_keep_every_rule():
    samples = [choice_sample(f"q-{i}", subset=s, input=ENGLISH) for s in ("law", "art") for i in (f"{s}-1", f"{s}-2")]
    spec = dataset(
        {"row_count": {"equals": 4}},
        {"subset_row_counts": {"law": 2, "art": 2}},
        "unique_ids",
        "no_blank_inputs",
        "no_blank_targets",
        {"choice_count": {"equals": 4}},
        "target_is_a_choice",
        {"language": {"is": "en", "at_least": 1}},
        {"input_length": {"at_most": 100}},
        {"target_pattern": {"pattern": "[A-D]"}},
        subsets=["law", "art"],
    )

    validation = expectations.validate(samples, spec)

    assert validation.success
    assert (validation.rows, validation.subsets) == (4, {"art": 2, "law": 2})
    assert {c.name for c in validation.checks} >= {call.name for call in spec.expectations}


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        (choice_sample("bad", input=" \u3000\n"), "no_blank_inputs"),
        (choice_sample("bad", input=" ", follow_ups=("  ",)), "no_blank_inputs"),
        (choice_sample("bad", targets=()), "has_target"),
        (choice_sample("bad", targets=("E",)), "target_is_a_choice"),
        (choice_sample("bad", targets=("A", "red")), "target_is_a_choice"),
        (choice_sample("bad", choices=("red", " ", "blue", "grey")), "no_blank_choices"),
        (choice_sample("bad", choices=("red",)), "choice_count"),
    ],
)
def test_a_defect_is_named_with_its_sample_although_the_yaml_names_no_expectation(planted, name):
    assert broken([choice_sample("good"), planted], dataset())[name] == ("bad",)


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (choice_sample("bad", choices=("red", "green", "blue")), {"choice_count": {"equals": 4}}),
        (sample("bad"), "target_is_a_choice"),
        (choice_sample("bad", targets=("A", " ")), "no_blank_targets"),
        (choice_sample("bad", targets=("B", "１\n")), {"target_pattern": {"pattern": r"[A-D]|\d"}}),
        (choice_sample("bad", input="x" * 51), {"input_length": {"at_most": 50}}),
        (choice_sample("bad", input=CHINESE), {"language": {"is": "en", "at_least": 1.0}}),
    ],
)
def test_a_named_expectation_finds_its_defect(planted, expected):
    name = expected if isinstance(expected, str) else next(iter(expected))
    good = choice_sample("good", input=ENGLISH)

    assert broken([good, planted], dataset(expected))[name] == ("bad",)
    assert name not in broken([good], dataset(expected))


def test_ids_that_occur_twice_are_listed_once():
    samples = [choice_sample(id) for id in ("one", "twice", "two", "twice")]

    [check] = expectations.validate(samples, dataset()).broken

    assert check == Check(
        "unique_ids", "no id occurs twice", False, "2 of 4 samples break it, such as 'twice'", ("twice",)
    )


def test_a_blank_id_is_found():
    assert broken([choice_sample(" ")], dataset()) == {"no_blank_ids": (" ",)}


def test_at_most_ten_samples_are_named():
    [check] = expectations.validate([choice_sample(f"q-{i}", input="") for i in range(12)], dataset()).broken

    assert check.examples == tuple(f"q-{i}" for i in range(10))
    assert check.found.startswith("12 of 12 samples break it")


def test_a_missing_row_is_counted():
    [check] = expectations.validate([choice_sample("1")], dataset({"row_count": {"equals": 2}})).broken

    assert (check.what, check.found) == ("exactly 2 rows", "1 row")


def test_no_rows_at_all_are_not_valid():
    validation = expectations.validate([], dataset("no_blank_inputs", {"language": {"is": "zh"}}))

    assert [(c.name, c.found) for c in validation.broken] == [("row_count", "0 rows")]


def test_a_subset_with_a_wrong_number_of_rows_is_named():
    samples = [choice_sample("1", subset="law"), choice_sample("2", subset="law"), choice_sample("3", subset="art")]
    spec = dataset({"subset_row_counts": {"law": 3, "art": 1}}, subsets=["law", "art"])

    [check] = expectations.validate(samples, spec).broken

    assert (check.found, check.examples) == ("1 differ: law has 2 rows", ("law",))


def test_a_declared_subset_without_rows_and_an_undeclared_one_are_named():
    found = broken([choice_sample("1", subset="musik")], dataset(subsets=["music"]))

    assert found == {"subset_row_counts": ("music",), "declared_subsets": ("musik",)}


def test_counts_are_those_of_the_cut_where_samples_per_subset_cuts():
    counts = [{"row_count": {"equals": 100}}, {"subset_row_counts": {"law": 100}}]
    samples = [choice_sample("1", subset="law"), choice_sample("2", subset="law")]

    assert broken(samples, dataset(*counts, subsets=["law"], samples_per_subset=2)) == {}
    assert "subset_row_counts" in broken(samples[:1], dataset(*counts, subsets=["law"], samples_per_subset=2))


@pytest.mark.parametrize(("share", "success"), [(0.5, True), (0.75, False)])
def test_a_language_must_hold_for_the_share_asked_for(share, success):
    samples = [sample("zh", input=CHINESE), sample("en", input=ENGLISH)]

    found = broken(samples, without_choices({"language": {"is": "zh", "at_least": share}}))

    assert found == ({} if success else {"language": ("en",)})


def test_inputs_without_letters_speak_no_language():
    samples = [sample("sum", input="1 + 1 = ?"), sample("en", input=ENGLISH)]

    assert broken(samples, without_choices({"language": {"is": "en", "at_least": 1.0}})) == {}


def test_a_dataset_that_declares_no_targets_needs_none():
    assert broken([sample("open", targets=())], without_choices(targets="")) == {}
    assert broken([sample("open", targets=())], without_choices()) == {"has_target": ("open",)}


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"row_count": {"equal": 3}}, "equal: unknown option"),
        ("row_count", "needs either `equals`"),
        ({"row_count": {"equals": 3, "at_most": 4}}, "needs either `equals`"),
        ({"row_count": {"at_least": 5, "at_most": 4}}, "no data can keep it"),
        ({"row_count": {"equals": "3"}}, "equals: Input should be a valid integer"),
        ({"choice_count": {"equals": -1}}, "greater than or equal to 0"),
        ({"language": {"at_least": 0.9}}, "is: is needed"),
        ({"language": {"is": "de"}}, "'zh' or 'en'"),
        ({"language": {"is": "zh", "at_least": 95}}, "less than or equal to 1"),
        ({"target_pattern": {"pattern": "(["}}, "is not a regular expression"),
        ({"subset_row_counts": {"law": 5}}, "'law' not among the dataset's subsets"),
        ({"unique_ids": {"at_least": 5}}, "at_least: unknown option"),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(expected, message):
    with pytest.raises(InvalidSpec) as refused:
        expectations.check_names(dataset(expected, subsets=["music"]))

    assert message in str(refused.value)
    assert str(refused.value).startswith("dataset 'colours': expectation ")


def test_an_unknown_expectation_is_refused_with_what_was_meant():
    with pytest.raises(UnknownName) as refused:
        expectations.check_names(dataset("uniqe_ids"))

    assert "Did you mean 'unique_ids'?" in str(refused.value)
    assert "dataset 'colours'" in str(refused.value)


def test_names_are_checked_without_great_expectations():
    code = (
        "import sys; from llm_eval import expectations; from tests.builders import DATASET\n"
        "from llm_eval.specs import DatasetSpec\n"
        "expectations.check_names(DatasetSpec.model_validate({**DATASET, 'expectations': ['unique_ids']}))\n"
        "print([m for m in ('great_expectations', 'pandas', 'jinja2') if m in sys.modules])\n"
    )
    root = Path(__file__).parent.parent

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)

    assert done.stdout == "[]\n"


def test_validation_is_quiet_and_leaves_no_files(tmp_path, monkeypatch, caplog, capfd):
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)

    with caplog.at_level(logging.INFO):
        expectations.validate([choice_sample("1")], dataset())

    assert list(tmp_path.iterdir()) == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_the_page_escapes_what_comes_from_the_data():
    samples = [choice_sample("<b>1</b>", input="<script>alert(1)</script>", targets=("E",))]

    page = expectations.validate(samples, dataset()).to_html()

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<code>&lt;b&gt;1&lt;/b&gt;</code>" in page
    assert "not valid" in page


def validation() -> Validation:
    checks = (
        Check("row_count", "exactly 2 rows", True, "2 rows"),
        Check("unique_ids", "no id occurs twice", False, "2 of 2 samples break it, such as 'q'", ("q",)),
    )
    return Validation("colours", False, checks, 2, {"": 2}, {"q": "What?"})


def test_json_holds_everything():
    assert json.loads(json.dumps(validation().to_json())) == {
        "dataset": "colours",
        "success": False,
        "rows": 2,
        "subsets": {"": 2},
        "inputs": {"q": "What?"},
        "checks": [
            {"name": "row_count", "what": "exactly 2 rows", "success": True, "found": "2 rows", "examples": []},
            {
                "name": "unique_ids",
                "what": "no id occurs twice",
                "success": False,
                "found": "2 of 2 samples break it, such as 'q'",
                "examples": ["q"],
            },
        ],
    }


def test_the_log_gets_a_line_for_the_whole_and_one_for_each_broken_rule():
    assert list(validation().summary_lines()) == [
        "colours: 2 rows, 1 of 2 rules hold",
        "BROKEN unique_ids (no id occurs twice): 2 of 2 samples break it, such as 'q'",
    ]


def test_real_mmlu_questions_keep_the_rules_of_every_dataset(benchmark_files):
    import csv

    files = sorted((benchmark_files / "mmlu").rglob("abstract_algebra_test.csv"))
    if not files:
        pytest.skip("mmlu is there, but not its abstract_algebra_test.csv")
    with files[0].open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    samples = [choice_sample(str(i), r[1:5], input=r[0], targets=("ABCD"[int(r[5])],)) for i, r in enumerate(rows)]

    assert broken(samples, dataset({"row_count": {"equals": 100}}, {"choice_count": {"equals": 4}})) == {}
