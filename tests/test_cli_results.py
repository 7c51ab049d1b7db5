"""report --model, compare and gate as scripts use them: exit codes, stdout, stderr."""

from __future__ import annotations

import json

import pytest

from tests.builders import House
from tests.comparison.builders import checkpoint, publish, right
from tests.test_cli import llm_eval
from tests.test_importing import modules_after


@pytest.fixture
def evaluated(house: House) -> House:
    """Two checkpoints of `canned` on `colours`; the second lost ten points."""
    for number, count in ((1, 600), (2, 500)):
        publish(house.settings.root, right(count, 1000), model="canned", dataset="colours", **checkpoint(number))
    return house


def test_compare_prints_a_table(evaluated):
    done = llm_eval(evaluated, "compare", "canned@step-1", "canned")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("From canned@step-1 to canned@step-2\n")
    assert "worse" in done.stdout


def test_compare_as_json_is_a_list_of_datasets(evaluated):
    done = llm_eval(evaluated, "compare", "run-1", "run-2", "--format", "json", "--confidence", "0.9")

    (row,) = json.loads(done.stdout)
    assert (row["dataset"], row["difference"], row["confidence"]) == ("colours", pytest.approx(-0.1), 0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "canned", "nobody"], "'nobody' is no model"),
        (["compare", "run-1", "run-1"], "compared with itself"),
        (["compare", "run-1", "run-2", "-d", "arc"], "no dataset in common among arc"),
        (["compare", "run-1", "run-2", "-f", "csv"], "Known: json, md, table"),
        (["gate", "-s", "nightly", "-m", "canned"], "has no gate"),
        (["gate", "-s", "strict", "-m", "other"], "does not evaluate model 'other'"),
        (["gate", "-s", "strict", "-m", "canned", "--checkpoint", "step-9"], "canned@step-9 has no result"),
        (["report", "--plot", "x.png"], "name it with --model"),
        (["report", "-m", "canned", "--plot", "x.gif"], "ends in .png or .svg"),
    ],
)
def test_what_cannot_work_exits_2_with_one_message(evaluated, arguments, message):
    evaluated.suite()
    evaluated.suite(name="strict", gate={"max_drop": 0.01})

    done = llm_eval(evaluated, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gate_that_stops_a_checkpoint_exits_1_with_its_reasons(evaluated):
    evaluated.suite(gate={"max_drop": 0.01})

    done = llm_eval(evaluated, "gate", "--suite", "nightly", "--model", "canned")

    assert done.returncode == 1
    assert done.stdout.startswith("canned@step-2 on nightly\n")
    first, second = done.stderr.splitlines()
    assert first == "error: the gate of suite 'nightly' stops canned@step-2"
    assert second.startswith("colours: accuracy is 10.00 points lower than at step-1 (60.00 → 50.00)")


@pytest.mark.parametrize("arguments", [["--checkpoint", "step-1"], []])
def test_a_gate_that_does_not_exits_0(evaluated, arguments):
    evaluated.suite(gate={"max_drop": 0.2})

    done = llm_eval(evaluated, "gate", "-s", "nightly", "-m", "canned", *arguments)

    assert (done.returncode, done.stderr) == (0, "")


def test_report_of_one_model_shows_and_draws_its_curve(evaluated, tmp_path):
    done = llm_eval(evaluated, "report", "--model", "canned")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("canned over its checkpoints\n")
    folder = f"{evaluated.settings.root}/reports/canned"
    assert done.stdout.splitlines()[-2:] == [f"curves  {folder}/trend.png", f"curves  {folder}/trend.svg"]
    assert (tmp_path / "root" / "reports" / "canned" / "trend.png").stat().st_size > 10_000


def test_plot_names_the_only_picture(evaluated, tmp_path):
    done = llm_eval(evaluated, "report", "--model", "canned", "--plot", str(tmp_path / "here.svg"))

    assert done.stdout.splitlines()[-1] == f"curves  {tmp_path}/here.svg"
    assert not (tmp_path / "root" / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "beginning"),
    [
        (["-f", "json"], "["),
        (["-f", "csv"], "dataset,version,metric,mode,canned@step-2,"),
        (["-f", "md"], "## Leaderboard"),
        (["-f", "html"], "<!doctype html>"),
        (["--checkpoints"], "Leaderboard"),
    ],
)
def test_the_leaderboard_of_one_model_stays_what_it_was(evaluated, arguments, beginning):
    done = llm_eval(evaluated, "report", "--model", "canned", *arguments)

    assert done.stdout.startswith(beginning)


@pytest.mark.parametrize("command", ["compare", "gate"])
def test_help_teaches(house, command):
    done = llm_eval(house, command, "--help")

    assert done.returncode == 0
    assert "max_drop" in done.stdout or "McNemar" in done.stdout


def test_neither_comparing_nor_the_leaderboard_loads_what_only_pictures_need(tmp_path):
    loaded = modules_after(
        "from llm_eval import comparison, reporting\n"
        "from llm_eval.stages import checkpoint_report, trend\n"
        "from tests.comparison.builders import publish\n"
        f"root = {str(tmp_path)!r}\n"
        "a, b = publish(root, [1, 0, 1], run_id='a'), publish(root, [1, 1, 1], run_id='b')\n"
        "assert comparison.compare(comparison.measured(root, a), comparison.measured(root, b)).counts.discordant == 1"
    )

    assert "scipy.special" in loaded
    assert loaded & {"matplotlib", "scipy.stats", "pandas", "PIL"} == set()
