"""Two runs' headlines on the same samples, from what they have published."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from llm_eval import storage
from llm_eval.comparison import Counts, compare, measured
from llm_eval.errors import InputError
from llm_eval.metrics.text import bleu
from llm_eval.paired import RightOrWrong
from llm_eval.records import Score
from tests.builders import sample
from tests.comparison.builders import publish, right


@pytest.fixture
def root(tmp_path):
    return str(tmp_path)


def compared(root, first, second):
    return compare(measured(root, first), measured(root, second))


def test_right_or_wrong_is_counted_in_pairs(root):
    first = publish(root, [1, 1, 1, 0, 0, 0, 0, 1], run_id="a")
    second = publish(root, [1, 1, 0, 1, 1, 0, 0, 1], run_id="b")

    found = compared(root, first, second)

    assert found.evidence == RightOrWrong(pairs=8, both_right=3, lost=1, gained=2)
    assert found.counts == Counts(paired=8, discordant=3, failed=0, only_first=0, only_second=0)
    assert (found.method, found.difference.value) == ("McNemar", 0.125)


def test_what_failed_in_either_run_is_left_out_and_counted(root):
    first = publish(root, [1, None, 1, 0, 0], run_id="a")
    second = publish(root, [1, 1, None, 1, 0], run_id="b")

    found = compared(root, first, second)

    assert found.counts == Counts(paired=3, discordant=1, failed=2, only_first=0, only_second=0)
    assert (found.evidence.first, found.evidence.second) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_a_limited_run_is_compared_on_what_both_were_asked(root):
    full = publish(root, [1, 0, 1, 0, 1, 0], run_id="a")
    limited = publish(root, [1, 1, 1], run_id="b", sample_limit=3)

    found = compared(root, full, limited)

    assert found.counts == Counts(paired=3, discordant=1, failed=0, only_first=3, only_second=0)
    assert found.evidence.first == pytest.approx(2 / 3)


def test_a_macro_headline_is_what_is_resampled(root):
    """A subset of 4 that is all lost weighs as much as one of 400 in which nothing changes."""
    first = publish(root, {"big": right(200, 400), "small": [1, 1, 1, 1]}, headline="macro", run_id="a")
    second = publish(root, {"big": right(200, 400), "small": [0, 0, 0, 0]}, headline="macro", run_id="b")

    found = compared(root, first, second)

    assert (found.method, found.difference.value) == ("bootstrap", -0.5)
    assert (found.evidence.first, found.evidence.second) == (first.value, second.value) == (0.75, 0.25)


def test_several_attempts_are_one_sample(root):
    """Ten attempts that always agree tell no more than one: the p value is that of four samples."""

    def scores(values):
        return [Score(f"s-{i}", "", a, "accuracy", v, "scored") for i, v in enumerate(values) for a in range(10)]

    first = publish(root, scores=scores([1, 1, 1, 1]), run_id="a")
    second = publish(root, scores=scores([0, 0, 0, 1]), run_id="b")

    found = compared(root, first, second)

    assert found.evidence == RightOrWrong(pairs=4, both_right=1, lost=3, gained=0)
    assert found.difference.p_value == 0.25


def test_shares_of_attempts_are_resampled_by_sample(root):
    def scores(hits):
        found = ((i, a, float(a < right)) for i, right in enumerate(hits) for a in range(4))
        return [Score(f"s-{i}", "", a, "accuracy", value, "scored") for i, a, value in found]

    first = publish(root, scores=scores([4, 2, 0, 1] * 10), run_id="a")
    second = publish(root, scores=scores([4, 3, 1, 1] * 10), run_id="b")

    found = compared(root, first, second)

    assert (found.method, found.counts.paired, found.difference.value) == ("bootstrap", 40, pytest.approx(0.125))
    assert (found.evidence.first, found.evidence.second) == (first.value, second.value)


def bleu_scores(answers):
    for i, answer in enumerate(answers):
        measure = bleu(answer, sample(targets=("the cat sat on the old mat today",)))
        yield Score(f"s-{i}", "", 0, "bleu", measure.value, "scored", statistics=measure.statistics)


def test_bleu_is_that_of_the_corpus(root):
    worse = ["the cat sat on a mat", "the cat sat on the old mat", "a dog stood there"] * 8
    better = ["the cat sat on the old mat today", "the cat sat on the old mat", "the cat stood on the mat"] * 8
    first = publish(root, scores=list(bleu_scores(worse)), run_id="a")
    second = publish(root, scores=list(bleu_scores(better)), run_id="b")

    found = compared(root, first, second)

    assert (found.evidence.first, found.evidence.second) == (first.value, second.value)
    assert 0 < found.difference.ci_low < second.value - first.value < found.difference.ci_high
    assert found.difference.p_value < 0.01


def test_a_corpus_metric_published_without_its_statistics_is_asked_to_be_published_again(root, tmp_path):
    row = publish(root, scores=list(bleu_scores(["the cat sat"] * 3)))
    (path,) = (tmp_path / "results" / "samples").rglob("*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["statistics", "choices"]), path)

    with pytest.raises(InputError, match="Publish it again"):
        measured(root, row)


def test_right_or_wrong_published_before_statistics_came_is_compared_all_the_same(root, tmp_path):
    row = publish(root, [1, 0, 1])
    (path,) = (tmp_path / "results" / "samples").rglob("*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["statistics", "choices"]), path)

    assert list(measured(root, row).samples.values()) == [(1.0,), (0.0,), (1.0,)]


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("dataset_version", "other", "evaluate both on one version"),
        ("variant", "ppl", "compare runs of the same one"),
        ("judge", "gpt", "agree in it"),
        ("mode", "ppl", "agree in it"),
        ("dataset", "arc", "agree in it"),
    ],
)
def test_what_is_not_the_same_thing_is_refused_by_name(root, name, value, advice):
    first = publish(root, [1, 0, 1], run_id="a")
    second = publish(root, [1, 0, 1], run_id="b", **{name: value})

    with pytest.raises(InputError, match=rf"(?s)run a .* and run b .* cannot be compared: {name} is .*{advice}"):
        compared(root, first, second)


def test_runs_without_samples_in_common_are_refused(root):
    first, second = publish(root, [1, None], run_id="a"), publish(root, [None, 1], run_id="b")

    with pytest.raises(InputError, match="have 0 scored samples in common"):
        compared(root, first, second)


def test_the_samples_must_be_there(root):
    row = publish(root, [1, 0])
    storage.delete(f"{root}/results/samples/model=tiny/dataset=mmlu/run-1.parquet")

    with pytest.raises(InputError, match="has not published samples"):
        measured(root, row)
