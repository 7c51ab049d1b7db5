"""From scores to rows: which rows there are, what counts, and how fast."""

from __future__ import annotations

import random
import time

import pytest

from llm_eval.errors import EmptyScores
from llm_eval.metrics import get_metric
from llm_eval.metrics.aggregate import aggregate
from llm_eval.specs import DatasetSpec
from llm_eval.statistics import bootstrap, macro, mean_estimate, wilson
from tests.builders import DATASET, score

ACCURACY = get_metric("accuracy")


def dataset(**changes):
    return DatasetSpec.model_validate({**DATASET, **changes})


def scores(subset, *values, **fields):
    return [score(f"{subset}-{i}", value, subset=subset, **fields) for i, value in enumerate(values)]


def named(rows):
    return {(r.subset, r.aggregation): r for r in rows}


LOGIC_AND_LAW = {"subsets": ["logic", "law", "art"], "groups": {"hard": ["logic", "law"]}}


def test_a_dataset_without_subsets_has_the_one_row_all():
    (row,) = aggregate(scores("", 1.0, 0.0, 1.0, 1.0), ACCURACY, dataset())

    assert (row.subset, row.aggregation, row.headline, row.samples) == ("all", "samples", True, 4)
    assert row.estimate == wilson(3, 4)


def test_rows_are_subsets_then_groups_then_all_in_the_order_of_the_yaml():
    given = scores("art", 1.0) + scores("law", 1.0) + scores("logic", 0.0)

    assert [(r.subset, r.aggregation) for r in aggregate(given, ACCURACY, dataset(**LOGIC_AND_LAW))] == [
        ("logic", "samples"), ("law", "samples"), ("art", "samples"),
        ("hard", "macro"), ("hard", "micro"), ("all", "macro"), ("all", "micro"),
    ]  # fmt: skip


def test_macro_weighs_subsets_and_micro_weighs_samples():
    given = scores("logic", 1.0) + scores("law", 0.0, 0.0, 1.0) + scores("art", 1.0, 1.0, 1.0, 1.0)
    rows = named(aggregate(given, ACCURACY, dataset(**LOGIC_AND_LAW)))

    assert rows["hard", "macro"].estimate == macro([wilson(1, 1), wilson(1, 3)])
    assert rows["hard", "micro"].estimate == wilson(2, 4)
    assert rows["all", "macro"].estimate == macro([wilson(1, 1), wilson(1, 3), wilson(4, 4)])
    assert rows["all", "micro"].estimate == wilson(6, 8)


@pytest.mark.parametrize("headline", ["macro", "micro"])
def test_the_headline_is_the_row_of_all_that_the_dataset_declares(headline):
    rows = aggregate(scores("logic", 1.0) + scores("law", 0.0), ACCURACY, dataset(**LOGIC_AND_LAW, headline=headline))

    assert [(r.subset, r.aggregation) for r in rows if r.headline] == [("all", headline)]


def test_no_answer_counts_as_wrong_and_failed_does_not_count():
    given = [
        *scores("", 1.0, 1.0),
        score("n", 0.0, status="no_answer"),
        score("f", None),
    ]
    (row,) = aggregate(given, ACCURACY, dataset())

    assert row.estimate == wilson(2, 3)
    assert (row.samples, row.scored, row.no_answer, row.failed) == (4, 2, 1, 1)


def test_a_subset_that_failed_as_a_whole_has_no_row_and_all_counts_it():
    given = scores("logic", None, None) + scores("law", None) + scores("art", 1.0, 0.0)
    rows = named(aggregate(given, ACCURACY, dataset(**LOGIC_AND_LAW)))

    assert set(rows) == {("art", "samples"), ("all", "macro"), ("all", "micro")}
    assert rows["all", "macro"].estimate == macro([wilson(1, 2)])
    assert (rows["all", "macro"].samples, rows["all", "macro"].failed) == (5, 3)


def test_a_limited_run_makes_groups_of_the_subsets_there_are():
    rows = named(aggregate(scores("law", 1.0, 0.0), ACCURACY, dataset(**LOGIC_AND_LAW)))

    assert rows["hard", "macro"].estimate == macro([wilson(1, 2)])
    assert ("logic", "samples") not in rows


def test_groups_may_overlap():
    groups = {"one": ["logic", "law"], "other": ["law", "art"]}
    given = scores("logic", 1.0) + scores("law", 0.0) + scores("art", 1.0)
    rows = named(aggregate(given, ACCURACY, dataset(subsets=LOGIC_AND_LAW["subsets"], groups=groups)))

    assert [rows[g, "micro"].samples for g in ("one", "other", "all")] == [2, 2, 3]


def test_nothing_scored_at_all_is_an_error():
    with pytest.raises(EmptyScores, match=r"'colours', metric 'accuracy': none of 2 samples"):
        aggregate(scores("", None, None), ACCURACY, dataset())
    with pytest.raises(EmptyScores):
        aggregate([], ACCURACY, dataset(**LOGIC_AND_LAW))


def test_attempts_are_averaged_before_samples():
    given = [
        *[score("easy", 1.0, attempt=i) for i in range(4)],
        *[score("hard", v, attempt=i) for i, v in enumerate((0.0, 0.0, 0.0, 1.0))],
        *[score("flaky", v, attempt=i) for i, v in enumerate((None, 1.0, None, None))],
    ]
    (row,) = aggregate(given, ACCURACY, dataset())

    assert row.estimate == mean_estimate([1.0, 0.25, 1.0], (0.0, 1.0))
    assert (row.samples, row.scored, row.failed) == (3, 3, 0)


def test_a_sample_is_without_answer_only_if_no_attempt_has_one():
    given = [
        score("a", 0.0, attempt=0, status="no_answer"),
        score("a", 1.0, attempt=1),
        score("b", 0.0, attempt=0, status="no_answer"),
        score("b", None, attempt=1),
    ]
    (row,) = aggregate(given, ACCURACY, dataset())

    assert (row.samples, row.scored, row.no_answer, row.failed) == (2, 1, 1, 0)


def test_means_between_0_and_1_get_student_s_interval_within_the_range():
    (row,) = aggregate(scores("", 0.0, 0.9, 1.0), get_metric("token_f1"), dataset())

    assert row.estimate == mean_estimate([0.0, 0.9, 1.0], (0.0, 1.0))
    assert (row.estimate.ci_low, row.estimate.ci_high) == (0.0, 1.0)


def test_a_mean_metric_that_is_1_everywhere_keeps_a_width():
    (row,) = aggregate(scores("", *[1.0] * 20), get_metric("token_f1"), dataset())

    assert row.estimate == wilson(20, 20)


def perplexities(subset, *pairs):
    return [
        score(f"{subset}-{i}", 1.0, subset=subset, metric="perplexity", statistics=pair) for i, pair in enumerate(pairs)
    ]


def test_corpus_metrics_pool_statistics_for_micro_and_average_corpora_for_macro():
    metric = get_metric("perplexity")
    logic, law = [(-10.0, 10.0), (-5.0, 10.0)], [(-40.0, 20.0), (-30.0, 10.0), (-3.0, 3.0)]
    rows = named(aggregate(perplexities("logic", *logic) + perplexities("law", *law), metric, dataset(**LOGIC_AND_LAW)))

    parts = [bootstrap(logic, metric.corpus), bootstrap(law, metric.corpus)]
    assert rows["law", "samples"].estimate == parts[1]
    assert rows["all", "macro"].estimate == macro(parts)
    assert rows["all", "micro"].estimate == bootstrap(logic + law, metric.corpus)
    assert rows["all", "micro"].estimate.value == pytest.approx(2.7182818 ** (88 / 53))


def test_attempts_of_a_corpus_metric_are_pooled_into_one_sample():
    metric = get_metric("perplexity")
    given = [score("a", 1.0, attempt=i, statistics=(-2.0 * i, 4.0)) for i in range(3)]
    (row,) = aggregate([*given, score("b", 1.0, statistics=(-1.0, 1.0))], metric, dataset())

    assert row.samples == 2
    assert row.estimate == bootstrap([(-6.0, 12.0), (-1.0, 1.0)], metric.corpus)


@pytest.mark.parametrize("name", ["accuracy", "token_f1", "perplexity"])
def test_the_order_in_which_shards_were_written_does_not_matter(name):
    draw = random.Random(5)
    given = [
        score(f"s-{i}", draw.random(), subset=("logic", "law")[i % 2], statistics=(-draw.random(), 1.0 + i % 3))
        for i in range(60)
    ]
    shuffled = draw.sample(given, len(given))

    assert aggregate(shuffled, get_metric(name), dataset(**LOGIC_AND_LAW)) == aggregate(
        given, get_metric(name), dataset(**LOGIC_AND_LAW)
    )


def test_all_of_mmlu_is_aggregated_in_well_under_two_seconds():
    subsets = [f"subject-{i}" for i in range(57)]
    spec = dataset(subsets=subsets, groups={f"group-{g}": subsets[g::4] for g in range(4)}, headline="macro")
    given = [score(f"s-{i}", float(i % 3 > 0), subset=subsets[i % 57]) for i in range(14_042)]
    began = time.process_time()

    rows = aggregate(given, ACCURACY, spec)

    assert time.process_time() - began < 1.5
    assert len(rows) == 57 + 4 * 2 + 2


ALIGNBENCH = {
    "subsets": ["数学", "逻辑", "基本", "中文", "综合", "写作", "角色", "专业"],
    "groups": {"推理": ["数学", "逻辑"], "语言": ["基本", "中文", "综合", "写作", "角色", "专业"]},
    "headline": "groups",
}
RATING = get_metric("rating")


def test_the_mean_of_the_groups_is_alignbench_s_overall_score():
    """推理 = (4 + 6) / 2 = 5; 语言 = (7 + 7 + 8 + 8 + 9 + 6) / 6 = 7.5; 总分 = (5 + 7.5) / 2 = 6.25.

    Source: open-compass/opencompass, summarizers/subjective/alignmentbench.py, get_capability_results.
    """
    means = dict(zip(ALIGNBENCH["subsets"], (4, 6, 7, 7, 8, 8, 9, 6), strict=True))
    given = [s for name, mean in means.items() for s in scores(name, mean - 1.0, mean + 1.0)]
    found = named(aggregate(given, RATING, dataset(**ALIGNBENCH), (1.0, 10.0)))

    assert found["推理", "macro"].estimate.value == 5.0
    assert found["语言", "macro"].estimate.value == 7.5
    assert found["all", "groups"].estimate.value == 6.25
    assert found["all", "macro"].estimate.value == 55 / 8
    assert [key for key, row in found.items() if row.headline] == [("all", "groups")]
    assert found["all", "groups"].bounds == pytest.approx((6.25, 6.25))


def test_bounds_of_the_mean_of_groups_are_those_of_its_subsets():
    """数学: 4 and a failed one, 逻辑: 6. 推理 between ((4+1)/2 + 6)/2 = 4.25 and ((4+10)/2 + 6)/2 = 6.5; 语言: 8."""
    given = [*scores("数学", 4.0, None), *scores("逻辑", 6.0), *scores("基本", 8.0)]
    found = named(aggregate(given, RATING, dataset(**ALIGNBENCH), (1.0, 10.0)))["all", "groups"]

    assert found.estimate.value == (5.0 + 8.0) / 2
    assert found.bounds == pytest.approx(((4.25 + 8) / 2, (6.5 + 8) / 2))
    assert (found.samples, found.failed) == (4, 1)


def test_a_subset_that_failed_as_a_whole_still_widens_the_bounds():
    given = [*scores("数学", None), *scores("逻辑", 6.0), *scores("基本", 8.0)]
    found = named(aggregate(given, RATING, dataset(**ALIGNBENCH), (1.0, 10.0)))["all", "groups"]

    assert found.estimate.value == 7.0
    assert found.bounds == pytest.approx(((3.5 + 8) / 2, (8 + 8) / 2))


def test_a_limited_run_has_the_mean_of_the_groups_there_are():
    found = named(aggregate(scores("基本", 8.0, 6.0), RATING, dataset(**ALIGNBENCH), (1.0, 10.0)))

    assert found["all", "groups"].estimate.value == 7.0
    assert ("推理", "macro") not in found


def test_a_group_that_failed_as_a_whole_still_widens_the_bounds():
    given = [*scores("数学", None), *scores("基本", 8.0)]
    found = named(aggregate(given, RATING, dataset(**ALIGNBENCH), (1.0, 10.0)))["all", "groups"]

    assert found.bounds == pytest.approx(((1 + 8) / 2, (10 + 8) / 2))
