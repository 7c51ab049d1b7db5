"""The report at the end of a run."""

from __future__ import annotations

import pytest

from llm_eval.errors import InputError
from llm_eval.reporting import run_report
from tests.reporting.builders import part, result


def test_headline_groups_and_counts():
    rows = [
        result(0.4633, aggregation="macro", samples=14042, scored=14000, no_answer=30, failed=12, cost_usd=1.5),
        result(0.47, headline=False),
        part("stem", 0.4, "macro"),
        part("stem", 0.41, "micro"),
        part("人文", 0.525, "macro"),
        result(0.3, metric="f1", headline=False, aggregation="macro"),
    ]

    assert run_report(rows) == (
        """\
tiny on mmlu
accuracy  46.33 ±2.0!   95% interval 44.33–48.33
mean over subsets (macro); mean over samples (micro): 47.00
! 12 samples failed through no fault of the model; the value leaves them out

further metrics
  f1               30.00 ±2.0  1,000 samples

groups
  stem    40.00 ±2.0  100 samples
  人文    52.50 ±2.0  100 samples

samples 14,042   scored 14,000   no answer 30   failed 12
tokens 120,000 in, 3,000 out   inference 61.5 s   cost 1.50 USD
version 1cf9f0ab   mode gen   run run-1"""
    )


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        (
            {
                "prefill_tokens": 24_000,
                "prefix_reuse_fraction": 0.8,
                "prefill_tokens_per_second": 9_812.4,
                "decode_tokens_per_second": 640.5,
                "peak_memory_gib": 0.523,
                "peak_gpu_memory_gib": 12.1,
            },
            "prefill 24,000 at 9,812 tokens/s, 80.0% reused   decode 640 tokens/s   "
            "peak memory 0.52 GiB, GPU 12.10 GiB",
        ),
        ({"peak_memory_gib": 1.5}, "peak memory 1.50 GiB"),
        ({"prefill_tokens": 7, "prefix_reuse_fraction": 0.0}, "prefill 7, 0.0% reused"),
    ],
)
def test_what_answering_took_is_said_as_far_as_it_is_known(figures, line):
    assert run_report([result(**figures)]).splitlines()[-2] == line


def test_of_many_subsets_the_best_and_the_worst_are_shown():
    rows = [result(), *(part(f"s{i}", i / 20, "samples") for i in range(12))]

    lines = run_report(rows).splitlines()

    best, worst = lines.index("best subsets"), lines.index("worst subsets")
    assert [line.split()[0] for line in lines[best + 1 : best + 6]] == ["s11", "s10", "s9", "s8", "s7"]
    assert [line.split()[0] for line in lines[worst + 1 : worst + 6]] == ["s0", "s1", "s2", "s3", "s4"]


def test_where_lower_is_better_the_best_subset_is_the_lowest():
    rows = [
        result(12.0, unit="perplexity", higher_is_better=False),
        *(part(f"s{i}", float(i + 1), "samples", unit="perplexity", higher_is_better=False) for i in range(12)),
    ]

    lines = run_report(rows).splitlines()

    assert lines[1].startswith("accuracy (lower is better)  12.00")
    assert lines[lines.index("best subsets") + 1].split()[:2] == ["s0", "1.00"]


def test_few_subsets_are_all_shown_best_first():
    report = run_report([result(), part("law", 0.2, "samples"), part("art", 0.3, "samples")])

    assert "subsets\n  art      30.00 ±2.0  100 samples\n  law      20.00 ±2.0  100 samples" in report


def test_a_limited_run_with_changed_values_says_both():
    row = result(
        checkpoint="step-2", sample_limit=50, samples=50, params={"overrides": {"dataset.generation.max_tokens": 4}}
    )

    assert run_report([row]).splitlines()[:4] == [
        "tiny@step-2 on mmlu",
        "accuracy  50.00 ±2.0*~   95% interval 48.00–52.00",
        "* asked only 50 samples (limit 50)",
        "~ catalog values changed for this run: dataset.generation.max_tokens",
    ]


@pytest.mark.parametrize("rows", [[], [result(run_id="a"), result(run_id="b")]])
def test_rows_of_no_run_or_of_several_are_refused(rows):
    with pytest.raises(InputError, match="needs the rows of one run"):
        run_report(rows)
