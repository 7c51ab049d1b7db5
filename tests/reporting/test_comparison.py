"""What `llm-eval compare` prints."""

from __future__ import annotations

import json

import pytest

from llm_eval.comparison import compare_sides, side
from llm_eval.errors import UnknownName
from llm_eval.reporting import render_comparison
from tests.comparison.builders import publish, right

AS_PRINTED = """\
dataset   metric        old      new   difference       95% interval         p   p (Holm)            samples   discordant
─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
arc       accuracy   100.00   50.00*       -50.00   -64.80 to -35.20   <0.0001    <0.0001    worse        40           20
mmlu      accuracy    50.25   62.31!       +12.06    +8.24 to +17.32   <0.0001    <0.0001   better       199           24
""".splitlines()  # noqa: E501


@pytest.fixture
def family(tmp_path):
    """Twelve points gained on mmlu, one of whose samples failed; arc is only asked in part."""
    root = str(tmp_path)
    publish(root, right(100, 200), model="old")
    publish(root, [*right(124, 199), None], model="new")
    publish(root, right(40, 80), model="old", dataset="arc")
    publish(root, right(20, 40), model="new", dataset="arc", sample_limit=40)
    publish(root, [1, 0], model="new", dataset="gsm8k")
    return compare_sides(side(root, "old"), side(root, "new"), (), 0.95)


def test_the_table_lines_up_and_its_notes_say_what_was_left_out(family):
    text = render_comparison(family, "table")

    assert text.splitlines() == [
        "From old to new",
        "",
        *AS_PRINTED,
        "",
        "Left out, values are of the samples in both: arc: 40 asked only in the first; "
        "mmlu: 1 failed in one of the two.",
        "! samples failed through no fault of the model.",
        "* asked only some of the samples.",
        "Only one of the two has a result on: gsm8k.",
        "On the same samples: McNemar's exact test, Tango's score interval.",
        "better, worse: p (Holm) is below 0.05; it is corrected for 2 comparisons. Fractions stand as 0-100.",
    ]


def test_markdown_has_the_same_cells(family):
    lines = render_comparison(family, "md").splitlines()

    assert lines[0] == "## From old to new"
    assert lines[5].startswith("| mmlu | accuracy | 50.25 | 62.31! | +12.06 | ")
    assert lines[-1].startswith("- better, worse")


def test_json_says_everything(family):
    _, mmlu = json.loads(render_comparison(family, "json"))

    assert {**mmlu, "ci_low": None, "ci_high": None} == {
        "dataset": "mmlu",
        "dataset_version": "1cf9f0ab",
        "metric": "accuracy",
        "unit": "fraction",
        "higher_is_better": True,
        "aggregation": "samples",
        "first": {"run_id": "run-1", "model": "old", "checkpoint": None, "sample_limit": None, "value": 100 / 199},
        "second": {"run_id": "run-1", "model": "new", "checkpoint": None, "sample_limit": None, "value": 124 / 199},
        "difference": 24 / 199,
        "confidence": 0.95,
        "ci_low": None,
        "ci_high": None,
        "p_value": pytest.approx(2 * 0.5**24),
        "p_holm": pytest.approx(4 * 0.5**24),
        "verdict": "better",
        "method": "McNemar",
        "paired": 199,
        "discordant": 24,
        "failed": 1,
        "only_first": 0,
        "only_second": 0,
    }


def test_another_format_is_refused(family):
    with pytest.raises(UnknownName, match="Known: json, md, table"):
        render_comparison(family, "html")
