import csv
import json

import pytest

from tests.test_cli import llm_eval


@pytest.fixture
def asked(house):
    house.run()
    return house


def fill_in(path, *verdicts, rater="eve"):
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, verdict in zip(rows, verdicts, strict=False):
        row.update(verdict=verdict, rater=rater)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.slow
def test_a_round_goes_out_as_a_sheet_and_comes_back_as_published_rows(asked, tmp_path):
    out = tmp_path / "round.csv"

    exported = llm_eval(asked, "human", "export", "panel", "--output", str(out), "--seed", "golden")
    fill_in(out, "1", "tie", "2")
    imported = llm_eval(asked, "-q", "human", "import", str(out))
    listed = llm_eval(asked, "human", "list")
    told = llm_eval(asked, "-q", "human", "report", "panel", "--format", "json")

    assert (exported.returncode, imported.returncode) == (0, 0), exported.stderr + imported.stderr
    assert "3 answers recorded in round panel/" in imported.stdout
    assert "human_preference" in imported.stdout
    assert listed.stdout.strip().endswith("preference  3 of 4 items answered")
    values = json.loads(told.stdout)
    assert values["counts"] == {"items": 4, "asked": 4, "answered": 3, "unanswered": 1, "raters": 1}
    assert sum(value["value"] for value in values["values"]) == pytest.approx(1.0)
    assert values["seed"] == "golden"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "panel", "-o", "x.ods"], "format 'ods' is not known"),
        (["export", "panels", "-o", "x.csv"], "suite 'panels' is not known"),
        (["export", "nightly", "-o", "x.csv"], "suite 'nightly' asks people nothing"),
        (["export", "panel/gone", "-o", "x.csv"], "there is no such round"),
        (["export", "panel", "-o", "/no/such/folder/x.csv"], "cannot be written"),
        (["import", "gone.csv"], "gone.csv: cannot be read"),
        (["report", "panel"], "suite 'panel' has no round under"),
    ],
)
def test_bad_input_exits_2_and_says_what_to_do(asked, arguments, told):
    asked.suite(name="nightly", models=["ada"])

    done = llm_eval(asked, "human", *arguments)

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
