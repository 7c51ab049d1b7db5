"""The page: complete, on its own, and safe to open whatever the names are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from llm_eval.reporting import leaderboard_files, render
from llm_eval.reporting.leaderboard import Leaderboard, Selection
from llm_eval.reporting.plots import nice_ticks, plots
from llm_eval.specs import SuiteSpec
from tests.reporting.builders import part, result

VOID = {"meta", "line", "circle", "br"}


class Page(HTMLParser):
    """Tags with their attributes in order; raises where they are not closed as they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_names_are_text_and_never_markup():
    hostile = '"><script>alert(1)</script>'
    rows = [result(checkpoint=hostile, judge=hostile), part(hostile, 0.2, "samples", checkpoint=hostile)]

    text = render(rows, "html", subsets=True, title=hostile)

    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    Page(text)


def test_the_page_loads_nothing_and_runs_nothing():
    page = Page(render([result()], "html"))

    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "a", "form", "object"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "src"]
    assert page.named("meta")[1]["content"].startswith("default-src 'none';")


def test_a_cell_holds_value_interval_and_counts():
    text = render([result(0.4633, samples=14042, failed=12)], "html")

    assert (
        '<b>46.33</b><span class="mark">!</span><small>44.33–48.33</small><small>n 14,042</small>'
        '<small class="failed">12 failed</small>' in text
    )


def test_each_dataset_has_one_plot_with_a_dot_per_model():
    rows = [result(dataset=d, model=m, run_id=m + d) for d in ("mmlu", "arc") for m in ("a", "b", "c")]
    rows.append(result(metric="f1", headline=False, model="a", run_id="ammlu"))

    page = Page(render(rows, "html"))

    assert len(page.named("svg")) == 2
    assert len(page.named("circle")) == 6


def test_limited_and_failed_results_look_different_in_the_plot():
    rows = [result(model="a", run_id="a", sample_limit=5), result(model="b", run_id="b", failed=1)]

    page = Page(render(rows, "html"))

    assert [circle["class"] for circle in page.named("circle")] == ["dot limited", "dot failing"]


def test_dots_and_intervals_stand_at_their_place_on_the_axis():
    board = Leaderboard.of([result(0.25, ci_low=0.2, ci_high=0.45)], Selection())

    [plot] = plots(board)

    assert [text for _, text in plot.ticks] == ["20", "25", "30", "35", "40", "45"]
    [dot] = plot.dots
    assert (dot.low, dot.at, dot.high) == (0, 20, 100)


def test_an_infinite_result_is_in_the_table_and_not_in_the_plot():
    text = render([result(float("inf"), unit="perplexity")], "html")

    assert "<b>inf</b>" in text
    assert "<svg" not in text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 100.0, [0, 20, 40, 60, 80, 100]),
        (41.3, 58.9, [40, 45, 50, 55, 60]),
        (0.9866, 0.9887, [0.9865, 0.987, 0.9875, 0.988, 0.9885, 0.989]),
        (50.0, 50.0, [50, 50.01, 50.02, 50.03, 50.04, 50.05]),
        (0.0, 0.0, None),
    ],
)
def test_ticks_are_round_numbers_around_all_values(low, high, ticks):
    found = nice_ticks(low, high)

    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8
    if ticks and low != high:
        assert found == pytest.approx(ticks)


def test_a_suite_has_its_files_in_its_own_order():
    suite = SuiteSpec(name="nightly", models=("tiny", "absent"), datasets=("siqa", "mmlu"))

    files = leaderboard_files([result(), part("stem", 0.3)], suite)

    assert set(files) == {f"leaderboard.{suffix}" for suffix in ("csv", "txt", "md", "html", "json")}
    text = files["leaderboard.txt"].decode()
    assert text.splitlines()[0] == "nightly"
    assert re.search(r"mode +tiny +absent +samples\n", text)
    assert "mmlu/stem" in text
    assert "- no result: absent on mmlu." in text
    assert "No model has a result on: siqa." in text


def test_a_suite_without_results_has_files_that_say_so():
    files = leaderboard_files([], SuiteSpec(name="nightly", models=("tiny",), datasets=("mmlu",)))

    assert b"No results yet." in files["leaderboard.html"]
    assert files["leaderboard.csv"].startswith(b"dataset,version,metric,mode,tiny,")
    assert files["leaderboard.json"] == b"[]\n"
