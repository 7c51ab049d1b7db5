"""The command line as scripts use it: exit codes, what is on stdout, what is on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.builders import House, rows
from tests.conftest import CHECKOUT


def llm_eval(house: House, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llm_eval", "--catalog", str(house.catalog_folder)]
    command += ["--root", house.settings.root, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=CHECKOUT, timeout=240, env={**os.environ, **environment}
    )


def test_run_prints_the_score_and_exits_0(house):
    done = llm_eval(house, "run", "--model", "canned", "--dataset", "colours", "--limit", "5")

    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    assert "Traceback" not in done.stderr


def test_run_as_json_prints_the_summary_rows(house):
    done = llm_eval(house, "-q", "run", "-m", "canned", "-d", "colours", "--format", "json")

    headline = next(r for r in json.loads(done.stdout) if r["headline"])
    assert (headline["model"], headline["dataset"], headline["samples"]) == ("canned", "colours", 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-m", "cannned", "-d", "colours"], "Did you mean 'canned'"),
        (["run", "-m", "canned", "-d", "colors"], "Did you mean 'colours'"),
        (["run", "-m", "canned", "-d", "colours_ppl"], "variant of dataset 'colours' 'ppl' is not known"),
        (["run", "-m", "canned", "-d", "colours", "--set", "x"], "KEY=VALUE"),
        (["run", "-m", "canned", "-d", "colours", "--checkpoint", "c"], "checkpoint 'c' is not known"),
        (["run", "-m", "canned", "-d", "colours", "--limit", "0"], "limit"),
        (["run", "-m", "canned", "-d", "colours", "--format", "yaml"], "table or json"),
        (["infer", "nowhere"], "is not a run"),
        (["list", "things"], "Known: datasets, judges, models, suites"),
        (["report"], "no results under"),
    ],
)
def test_bad_input_exits_2_with_one_message_and_no_traceback(house, arguments, message):
    done = llm_eval(house, *arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_run_exits_1_with_its_reason(house):
    house.model(backend={"kind": "scripted", "failing": 1})

    done = llm_eval(house, "run", "-m", "canned", "-d", "colours")

    assert done.returncode == 1
    assert "12 of 12 samples failed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_model_folder_that_does_not_exist_fails_before_anything_is_asked(house):
    house.model(backend={"kind": "transformers", "path": "no/such-model/at-all"}, name="lost")

    done = llm_eval(house, "run", "-m", "lost", "-d", "colours")

    assert done.returncode == 2
    assert "no/such-model/at-all" in done.stderr
    assert done.stdout == ""


def test_the_stage_commands_do_what_run_does(house):
    address = llm_eval(house, "-q", "plan", "-m", "canned", "-d", "colours").stdout.strip()

    for stage in ("fetch", "validate", "render", "infer", "score", "publish"):
        done = llm_eval(house, "-q", stage, address)
        assert done.returncode == 0, done.stderr

    assert json.loads(done.stdout)["counts"]["samples"] == 12


def test_preview_shows_prompt_and_right_answer(house):
    done = llm_eval(house, "preview", "canned", "colours", "--count", "1")

    assert done.returncode == 0, done.stderr
    assert "Answer:" in done.stdout
    assert "right answer" in done.stdout


def test_previewed_jsonl_answered_elsewhere_is_scored_by_replay(house, tmp_path):
    prompts = [
        json.loads(line)
        for line in llm_eval(house, "preview", "canned", "colours", "--count", "0", "-f", "jsonl").stdout.splitlines()
    ]
    answers = tmp_path / "answers.jsonl"
    gold = {str(row["id"]): row["answer"] for row in rows(12)}
    answers.write_text("".join(json.dumps({"id": p["id"], "text": gold[p["id"]]}) + "\n" for p in prompts))
    house.model(name="elsewhere", backend={"kind": "replay", "path": str(answers)})

    done = llm_eval(house, "-q", "run", "-m", "elsewhere", "-d", "colours", "--format", "json")

    assert done.returncode == 0, done.stderr
    assert [r["value"] for r in json.loads(done.stdout) if r["headline"]] == [1.0]


def test_list_shows_variants(house):
    house.dataset(variants={"ppl": {"description": "by likelihood"}})

    done = llm_eval(house, "list", "datasets", "colours")

    assert "colours_ppl" in done.stdout


def test_check_lists_every_mistake_at_once(house):
    house.dataset(metrics=["acuracy"])
    house.model(backend={"kind": "scripted", "reply": "A"})
    house.suite(models=["canned", "ghost"])

    done = llm_eval(house, "check")

    assert done.returncode == 2
    for part in ("acuracy", "reply", "ghost"):
        assert part in done.stderr


def test_schemas_are_what_the_repository_holds(tmp_path, house):
    done = llm_eval(house, "schema", str(tmp_path / "schema"))

    assert done.returncode == 0, done.stderr
    committed = CHECKOUT / "include" / "catalog" / "schema"
    for path in (tmp_path / "schema").iterdir():
        assert path.read_text() == (committed / path.name).read_text(), f"run `llm-eval schema` and commit {path.name}"


@pytest.mark.parametrize("command", ["run", "plan", "infer", "report", "preview", "list"])
def test_help_teaches(house, command):
    done = llm_eval(house, command, "--help")

    assert done.returncode == 0
    assert "--help" in done.stdout
