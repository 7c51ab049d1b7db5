import json
import os
import subprocess
import sys

import pytest
from airflow.dag_processing.dagbag import DagBag

from llm_eval.airflow.factory import check_catalog, evaluation_dags, leaderboard_dags
from llm_eval.errors import InvalidSpec
from llm_eval.settings import HOME

MINE = {"eval__canned__tiny", "eval__gone__tiny"}


def test_each_pair_that_a_suite_asks_for_gets_a_dag(place):
    assert set(evaluation_dags()) >= MINE
    assert "leaderboard__small" in leaderboard_dags()


def test_a_pair_that_two_suites_ask_for_gets_one_dag_with_both_schedules(place):
    place.write("suites", "weekly", {**place.suite, "schedule": "0 3 * * 0", "models": ["canned"]})

    dag = evaluation_dags()["eval__canned__tiny"]

    assert {"suite:small", "suite:weekly"} <= dag.tags
    assert dag.timetable.serialize()["expressions"] == ["0 2 * * *", "0 3 * * 0"]
    assert dag.get_task("plan").suite == "small"


def test_a_worker_builds_only_the_dag_of_its_task(place):
    assert list(evaluation_dags(only="eval__gone__tiny")) == ["eval__gone__tiny"]
    assert evaluation_dags(only="leaderboard__small") == {}


def test_parts_share_out_all_dags(place):
    for i in range(20):
        place.write("models", f"canned-{i}", place.canned)
    place.write("suites", "wide", {"models": [f"canned-{i}" for i in range(20)], "datasets": ["tiny"]})

    parts = [set(evaluation_dags(part=f"{i}/3")) for i in range(3)]

    assert set.union(*parts) == set(evaluation_dags())
    assert sum(len(part) for part in parts) == len(evaluation_dags())
    assert all(parts)


@pytest.mark.parametrize(
    ("kind", "name", "text", "named"),
    [
        ("models", "gone", "name: gone\nbackend: {kind: scripted}\nchat: false\ncontext: 5\n", "context: unknown key"),
        ("models", "gone", "name: gone\n  backend: {", "not valid YAML"),
        ("datasets", "other", "name: other\n", "sources: Field required"),
    ],
)
def test_a_broken_file_costs_no_pair_its_dag_and_is_named_in_the_check(place, kind, name, text, named):
    path = place.write(kind, name, text)
    place.write("suites", "more", {"models": ["canned"], "datasets": ["tiny", "other"]})
    if kind != "datasets":
        place.write(
            "datasets", "other", (place.catalog / "datasets" / "tiny.yaml").read_text().replace("tiny\n", "other\n")
        )

    assert set(evaluation_dags()) >= {*MINE, "eval__canned__other"}
    with pytest.raises(InvalidSpec, match=named) as mistakes:
        check_catalog()
    assert str(path) in str(mistakes.value)


def test_a_suite_that_names_an_unknown_dataset_keeps_the_dag_and_fails_the_check(place):
    place.write("suites", "small", {**place.suite, "datasets": ["tiny", "tinny"]})

    assert "eval__canned__tinny" in evaluation_dags()
    with pytest.raises(InvalidSpec, match="tinny"):
        check_catalog()


@pytest.mark.parametrize("schedule", ["every day", "61 2 * * *"])
def test_a_broken_suite_takes_no_other_suites_dags_down(place, schedule):
    place.write("suites", "worse", {**place.suite, "schedule": schedule})

    assert set(DagBag(HOME / "dags").dags) >= {*MINE, "leaderboard__small"}
    with pytest.raises(InvalidSpec, match=r"worse\.yaml"):
        check_catalog()


def test_the_dag_files_import_without_errors(place):
    bag = DagBag(HOME / "dags")

    assert bag.import_errors == {}
    assert set(bag.dags) >= {*MINE, "leaderboard__small"}


def test_only_the_check_file_reports_a_broken_model(place):
    place.write("models", "gone", "name: gone\n")

    bag = DagBag(HOME / "dags")

    assert [os.path.basename(path) for path in bag.import_errors] == ["catalog_check.py"]
    assert set(bag.dags) >= MINE


@pytest.mark.parametrize("file", sorted(path.name for path in (HOME / "dags").glob("*.py")))
def test_airflow_looks_into_every_dag_file(file):
    # Its safe mode passes over files without these words.
    text = (HOME / "dags" / file).read_text().lower()

    assert "airflow" in text
    assert "dag" in text


@pytest.mark.slow
def test_parsing_the_dag_files_imports_nothing_heavy(place):
    script = (
        "import runpy, sys\n"
        "for file in sys.argv[1:]: runpy.run_path(file)\n"
        "heavy = {'torch', 'transformers', 'pandas', 'pyarrow', 'great_expectations', 'kubernetes', 'openai'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    files = [str(path) for path in sorted((HOME / "dags").glob("*.py"))]

    parsed = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, cwd=HOME)

    assert parsed.stdout.splitlines()[-1] == "[]", parsed.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("component", "there"),
    [
        ("scheduler", ["great_expectations", "llm_eval.airflow.factory", "llm_eval.stages.score", "pyarrow"]),
        ("dag-processor", ["llm_eval.airflow.factory"]),
        ("api-server", []),
    ],
)
def test_what_forks_imports_ahead_what_its_forks_need(component, there):
    named = ["great_expectations", "llm_eval.airflow.factory", "llm_eval.stages.score", "pyarrow", "torch"]
    script = f"import airflow, airflow.settings, json, sys; print(json.dumps([m for m in {named} if m in sys.modules]))"

    imported = subprocess.run(
        [sys.executable, "-c", script, component],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HOME / "include" / "airflow")},
    )

    assert json.loads(imported.stdout.splitlines()[-1]) == there, imported.stderr
