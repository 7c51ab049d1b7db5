"""Tables, Markdown and csv as people and scripts read them."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.cells import cell_len

from llm_eval.errors import UnknownName
from llm_eval.reporting import render
from tests.reporting.builders import part, result

MMLU = {"variant": "ppl", "mode": "ppl"}
BIG = {"model": "big", "checkpoint": "step-2", "checkpoint_created_at": "2026-01-02T00:00:00Z"}
ROWS = [
    result(0.4633, run_id="a", aggregation="macro", samples=14042, **MMLU),
    result(0.47, run_id="a", headline=False, samples=14042, **MMLU),
    part("stem", 0.40, "macro", run_id="a", **MMLU),
    part("anatomy", 0.42, "samples", run_id="a", **MMLU),
    result(0.6, run_id="b", aggregation="macro", samples=200, sample_limit=200, **MMLU, **BIG),
    part("stem", 0.61, "macro", run_id="b", sample_limit=200, **MMLU, **BIG),
    result(
        12.5,
        run_id="c",
        dataset="wikitext",
        mode="ppl",
        metric="perplexity",
        unit="perplexity",
        higher_is_better=False,
        ci_low=12,
        ci_high=13.5,
        samples=60,
        failed=3,
        **BIG,
    ),
]


def test_table():
    assert render(ROWS, "table", groups=True) == (
        """\
Leaderboard

                                                       big
dataset         version    metric       mode       @step-2         tiny   samples
─────────────────────────────────────────────────────────────────────────────────
mmlu_ppl        1cf9f0ab   accuracy     ppl    60.00 ±2.0*   46.33 ±2.0    14,042
mmlu_ppl/stem   1cf9f0ab   accuracy     ppl    61.00 ±2.0*   40.00 ±2.0       100
wikitext        1cf9f0ab   perplexity   ppl    12.50 ±0.8!            -        60

! samples failed through no fault of the model, the value leaves them out: big@step-2 on wikitext, 3 of 60 samples.
* asked only some of the samples: big@step-2 on mmlu_ppl, 200 of 14,042 samples.
- no result: tiny on wikitext.
Macro, the mean over subsets of their means: mmlu_ppl. The others are means over samples.
Lower is better: perplexity.
Fractions stand as 0-100. After ±: half of the 95% interval."""
    )


def test_markdown():
    assert render(ROWS, "md", title="nightly") == (
        """\
## nightly

| dataset | version | metric | mode | big@step-2 | tiny | samples |
| --- | --- | --- | --- | ---: | ---: | ---: |
| mmlu_ppl | 1cf9f0ab | accuracy | ppl | 60.00 ±2.0\\* | 46.33 ±2.0 | 14,042 |
| wikitext | 1cf9f0ab | perplexity | ppl | 12.50 ±0.8! | - | 60 |

- ! samples failed through no fault of the model, the value leaves them out: big@step-2 on wikitext, 3 of 60 samples.
- \\* asked only some of the samples: big@step-2 on mmlu_ppl, 200 of 14,042 samples.
- \\- no result: tiny on wikitext.
- Macro, the mean over subsets of their means: mmlu_ppl. The others are means over samples.
- Lower is better: perplexity.
- Fractions stand as 0-100. After ±: half of the 95% interval."""
    )


def test_csv():
    assert render(ROWS, "csv", groups=True) == (
        """\
dataset,version,metric,mode,big@step-2,tiny,\
big@step-2 ci_low,big@step-2 ci_high,big@step-2 samples,big@step-2 failed,big@step-2 limit,\
tiny ci_low,tiny ci_high,tiny samples,tiny failed,tiny limit
mmlu_ppl,1cf9f0ab,accuracy,ppl,60.00,46.33,58.00,62.00,200,0,200,44.33,48.33,14042,0,
mmlu_ppl/stem,1cf9f0ab,accuracy,ppl,61.00,40.00,59.00,63.00,100,0,200,38.00,42.00,100,0,
wikitext,1cf9f0ab,perplexity,ppl,12.50,-,12.00,13.50,60,3,,,,,,"""
    )


def test_csv_reads_back_whatever_a_subset_is_called():
    rows = [result(), part('law, "civil"\nand criminal', 0.25, "samples")]

    _, whole, subset = csv.reader(io.StringIO(render(rows, "csv", subsets=True)))

    assert whole[:5] == ["mmlu", "1cf9f0ab", "accuracy", "gen", "50.00"]
    assert subset[0] == 'mmlu/law, "civil" and criminal'
    assert len(subset) == len(whole)


def test_columns_stay_aligned_where_names_are_chinese():
    rows = [result(), part("高等数学", 0.25), part("law", 0.125)]

    table = [line for line in render(rows, "table", groups=True).splitlines() if line.startswith("mmlu")]

    assert len(table) == 3
    assert len({cell_len(line) for line in table}) == 1
    assert len({cell_len(line.partition("1cf9f0ab")[0]) for line in table}) == 1


def test_a_long_model_name_is_folded_after_its_hyphens():
    lines = render([result(model="a-pretraining-run-with-a-long-name")], "table").splitlines()

    assert [line.split()[-1] for line in lines[2:3]] == ["a-pretraining-run-with-"]
    assert "a-long-name   samples" in lines[3]


def test_a_terminal_gets_no_escape_sequences_from_names_in_the_data():
    table = render([result(), part("\x1b[31mred", 0.2, "samples")], "table", subsets=True)

    assert "\x1b" not in table
    assert "mmlu/ [31mred" in table


def test_markdown_shows_names_as_they_are():
    text = render([result(), part("<b>|_x_*", 0.2, "samples")], "md", subsets=True)

    assert "| mmlu/\\<b\\>\\|\\_x\\_\\* |" in text


def test_a_limited_run_says_its_limit_where_nobody_knows_the_whole():
    text = render([result(samples=50, sample_limit=50)], "table")

    assert "* asked only some of the samples: tiny on mmlu, 50 samples (limit 50)." in text


def test_changed_catalog_values_are_named():
    text = render([result(params={"overrides": {"model.backend.dtype": "float32"}})], "table")

    assert "50.00 ±2.0~" in text
    assert "~ run with catalog values changed for it: tiny on mmlu, model.backend.dtype." in text


def test_a_line_that_only_some_runs_have_is_said_to_be_missing():
    rows = [result(), part("stem", 0.3), result(model="big", run_id="b")]

    assert "- no result: big on mmlu/stem." in render(rows, "table", groups=True)


def test_a_version_that_a_model_was_not_run_on_is_named():
    rows = [result(), result(model="big", run_id="b", dataset_version="ffffffff")]

    assert "- no result: big on mmlu 1cf9f0ab; tiny on mmlu ffffffff." in render(rows, "table")


def test_the_judge_is_part_of_the_metric():
    assert "rating (gpt-4o)" in render([result(metric="rating", judge="gpt-4o")], "table")


def test_bits_per_byte_keep_four_decimals():
    row = result(0.9876, metric="bits_per_byte", unit="bits_per_byte", ci_low=0.9866, ci_high=0.9887)

    assert "0.9876 ±0.0010" in render([row], "table")


def test_json_holds_every_row_of_the_runs_shown():
    found = json.loads(render([*ROWS, result(value=0.1, run_id="a-older", evaluated_at="2025-01-01", **MMLU)], "json"))

    assert [(row["run_id"], row["subset"], row["aggregation"]) for row in found] == [
        (row.run_id, row.subset, row.aggregation) for row in ROWS
    ]
    assert found[0]["value"] == 0.4633


def test_json_has_null_for_infinity():
    assert json.loads(render([result(float("inf"))], "json"))[0]["value"] is None


@pytest.mark.parametrize("format", ["table", "md", "html"])
def test_no_rows_make_a_leaderboard_that_says_so(format):
    assert "No results yet." in render([], format)


def test_an_unknown_format_is_refused():
    with pytest.raises(UnknownName, match="format 'xlsx' is not known"):
        render(ROWS, "xlsx")
