"""What people said, as published rows, pages and figures."""

import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm_eval import layout, results, tables
from llm_eval.human import rounds
from llm_eval.human.records import AgreementRow, Answer
from llm_eval.human.report import render, report
from llm_eval.records import PublishedJudgement, Result, SampleResult
from llm_eval.reporting import render as leaderboard
from tests.builders import NOON
from tests.human.builders import RATING, answer, human_rows, prefers, record, start
from tests.human.conftest import QUESTIONS


def test_preferences_become_a_row_of_each_model_beside_its_run(house):
    house.run()
    made = start(house)
    ada = prefers(made, "ada")
    said = [ada[0], ada[1], "tie"]  # two wins, a tie, and one item that nobody answers

    record(made, *(answer(made, item, each) for item, each in zip(made.items, said, strict=False)))
    outcome = report(house.settings.root, made)

    found = {row.model: row for row in human_rows(house)}
    assert (found["ada"].value, found["bob"].value) == pytest.approx((2.5 / 3, 0.5 / 3))
    assert [(r.metric, r.samples, r.scored, r.failed, r.headline) for r in found.values()] == [
        ("human_preference", 4, 3, 1, False)
    ] * 2
    assert found["ada"].params["human"]["opponents"] == ["bob"]
    assert outcome.counts == (4, 4, 3, 1, 1)
    headline = next(
        row for row in results.current(results.summary(house.settings.root, models=["ada"])) if row.headline
    )
    assert (headline.metric, headline.run_id) == ("exact_match", found["ada"].run_id)


def test_each_answer_is_published_as_a_judgement_with_its_rater(house):
    house.run()
    made = start(house)
    record(made, answer(made, made.items[0], "first", "eve"), answer(made, made.items[0], "second", "dan"))

    report(house.settings.root, made)

    key = made.keys[0]
    (row,) = (r for r in results.summary(house.settings.root, models=[key.models[1]]) if r.headline)
    folder = layout.join(layout.results(house.settings.root, "judgements"), f"model={row.model}", "dataset=colours")
    found = pq.read_table(layout.join(folder, f"{row.run_id}.human.panel.round-1.parquet"), partitioning=None)
    assert found.schema.equals(tables.schema_of(PublishedJudgement))
    judgements = found.to_pylist()
    mine = [j for j in judgements if j["sample_id"] == key.sample_id]
    assert [(j["judge"], j["judge_model"], j["order"], j["verdict"], j["value"], j["opponents"]) for j in mine] == [
        ("human", "human:dan", "swapped", "second", 1.0, [key.models[0]]),
        ("human", "human:eve", "swapped", "first", 0.0, [key.models[0]]),
    ]
    others = [j for j in judgements if j["sample_id"] != key.sample_id]
    assert [(j["status"], j["value"], j["judge_model"]) for j in others] == [("failed", None, "human")] * 3


def test_ratings_are_means_over_raters_and_then_over_samples(house):
    house.asks(RATING, samples=2, models=["ada"])
    house.run("ada")
    made = start(house)
    first, second = made.items
    record(made, answer(made, first, "5"), answer(made, first, "2", "dan"), answer(made, second, "1"))

    report(house.settings.root, made)

    (row,) = human_rows(house)
    assert (row.metric, row.value, row.unit, row.samples) == ("human_rating", pytest.approx((3.5 + 1) / 2), "points", 2)
    assert 1 <= row.ci_low < row.value < row.ci_high <= 5
    folder = layout.join(layout.results(house.settings.root, "samples"), "model=ada", "dataset=colours")
    found = tables.read(layout.join(folder, f"{row.run_id}.human_rating.parquet"), SampleResult)
    assert sorted((s.value, s.explanation) for s in found) == [(1.0, "eve: 1"), (3.5, "dan: 2; eve: 5")]


def test_a_skipped_item_is_unanswered(house):
    house.run()
    made = start(house)
    record(made, answer(made, made.items[0], None))

    outcome = report(house.settings.root, made)

    assert outcome.counts == (4, 4, 0, 4, 0)
    assert human_rows(house) == []
    assert "Nobody has answered anything" in " ".join(outcome.notes)


def test_of_two_answers_of_one_rater_the_last_counts(house):
    house.run()
    made = start(house)
    later = NOON.replace(hour=13).isoformat()
    record(made, Answer(made.items[0].id, "eve", "tie", "", later, "b.csv", later), label="b")
    record(made, answer(made, made.items[0], "first"), label="c")

    assert [each.answer for each in rounds.answers_of(made)] == ["tie"]


def test_people_and_judges_are_compared_on_the_same_answers(house):
    house.asks(RATING, samples=QUESTIONS, models=["ada"])
    house.judged_by(["1", "2", "3", "4", "5"])
    house.run("ada")
    made = start(house)
    (row,) = (r for r in results.summary(house.settings.root, models=["ada"]) if r.headline)
    judged = {
        s.sample_id: s.value
        for s in results.samples(house.settings.root, row.run_id, "ada", "colours")
        if s.metric == "rating"
    }
    assert len(set(judged.values())) > 2
    record(
        made,
        *(answer(made, i, f"{judged[k.sample_id]:.0f}") for i, k in zip(made.items, made.keys, strict=True)),
    )

    report(house.settings.root, made)

    table = layout.join(layout.results(house.settings.root, "agreement"), "suite=panel", "round-1.parquet")
    found = tables.read(table, AgreementRow)
    assert [(r.first, r.second, r.metric, r.statistic, r.value, r.n, r.pick) for r in found] == [
        ("human", "judge-1", "rating", "spearman", 1.0, QUESTIONS, "random"),
        ("human", "judge-1", "rating", "percent_agreement", 1.0, QUESTIONS, "random"),
        ("human", "judge-1", "rating", "weighted_kappa", 1.0, QUESTIONS, "random"),
    ]


def test_where_judges_disagree_people_are_asked_first_and_the_figures_stay_out_of_the_summary(house):
    house.asks(RATING, samples=3, pick="disagreement", models=["ada"])
    house.judged_by(["1", "5"], ["1", "2", "4"])
    house.run("ada")
    made = start(house)
    (row,) = (r for r in results.summary(house.settings.root, models=["ada"]) if r.headline)
    apart = {}
    for s in results.samples(house.settings.root, row.run_id, "ada", "colours"):
        if s.metric.startswith("rating@"):
            apart.setdefault(s.sample_id, []).append(s.value)
    gaps = sorted((max(v) - min(v) for v in apart.values()), reverse=True)
    assert gaps[2] > 0  # else the test shows nothing
    record(made, *(answer(made, item, "3") for item in made.items))

    outcome = report(house.settings.root, made)

    assert [key.picked for key in made.keys] == ["disagreement"] * 3
    assert sorted((max(apart[k.sample_id]) - min(apart[k.sample_id]) for k in made.keys), reverse=True) == gaps[:3]
    assert human_rows(house) == []
    assert {row.pick for row in outcome.agreement} == {"disagreement"}
    assert "Picked by disagreement" in render(made, outcome, "table")


def test_the_newest_round_about_a_run_stands(house):
    house.asks(RATING, models=["ada"])
    house.run("ada")
    old, new = start(house, name="old"), start(house, name="new", now=NOON.replace(hour=20))
    record(new, answer(new, new.items[0], "5"))
    record(old, answer(old, old.items[0], "1"))

    report(house.settings.root, new)
    report(house.settings.root, old)

    assert [(row.value, row.params["human"]["round"]) for row in human_rows(house)] == [(5.0, "new")]


def test_the_page_loads_nothing_and_escapes_what_raters_are_called(house):
    house.run()
    made = start(house)
    bad = "<img src=x onerror=alert(1)>"
    record(made, *(answer(made, item, "first", who) for item in made.items for who in (bad, "eve")))

    report(house.settings.root, made)

    page = (house.folder / "root" / "human" / "panel" / "round-1" / "agreement.html").read_text()
    assert bad not in page
    assert "&lt;img" in page
    assert "default-src 'none'" in page


def test_a_leaderboard_has_a_line_of_what_people_said(house):
    house.run()
    made = start(house)
    record(made, *(answer(made, item, side) for item, side in zip(made.items, prefers(made, "ada"), strict=True)))

    report(house.settings.root, made)

    board = leaderboard(results.current(results.summary(house.settings.root)), "table")
    (line,) = (line for line in board.splitlines() if "human_preference" in line)
    assert re.search(r"100\.00 .*0\.00 ", line)
    assert len(board_lines := [each for each in board.splitlines() if "colours" in each]) == 2, board_lines


def test_rows_follow_a_run_that_is_published_again(house):
    house.run()
    made = start(house)
    record(made, answer(made, made.items[0], "first"))
    report(house.settings.root, made)
    (headline,) = (r for r in results.summary(house.settings.root, models=["ada"]) if r.headline)
    folder = Path(house.settings.root, "results", "summary", "model=ada", "dataset=colours")
    again = replace(headline, evaluated_at=NOON.replace(year=2100).isoformat())
    tables.write(str(folder / f"{headline.run_id}.parquet"), Result, [again])
    assert [row.model for row in human_rows(house)] == ["bob"]

    report(house.settings.root, made)

    assert sorted(row.model for row in human_rows(house)) == ["ada", "bob"]
