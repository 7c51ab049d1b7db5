"""People asked through a real Airflow: the questions as its REST API and its UI have them, answers, published rows."""

import json
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import AirflowFailException
from rich.console import Console

from llm_eval import results
from llm_eval.airflow.factory import human_dags
from llm_eval.airflow.humans import PickOperator, patiently, round_of
from llm_eval.airflow.stack import Stack
from llm_eval.catalog import Catalog
from llm_eval.errors import StorageError
from llm_eval.human import rounds
from llm_eval.human.showing import verbatim
from llm_eval.remote.client import FINISHED, RequestRefused
from llm_eval.remote.watch import wait_for
from llm_eval.settings import HOME, Settings
from llm_eval.specs import RunParams
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish

pytestmark = pytest.mark.timeout(900)

CONSOLE = Console(force_terminal=False)
RUN_SECONDS = 240.0
HOSTILE = (
    "<script>document.title='owned'</script>\n"
    "<img src=x onerror=\"document.title='owned'\">\n"
    "![picture](http://evil.example/picture.png) [link](javascript:alert(1))\n"
    "````\n```\n# heading {{ 7 * 7 }}"
)
PEOPLE = {"ask": {"kind": "preference"}, "samples": 3, "users": ["admin"]}


def make_people(place, **human):
    """Two models with answers in files, the first one's hostile, and a suite that asks people about them."""
    data = place.catalog.parent / "data"
    for name, text in (("ada", HOSTILE), ("bob", "A plain answer.")):
        rows = [{"id": f"q-{i}", "text": f"{text}\n{i}"} for i in range(12)]
        (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        place.write("models", name, {"backend": {"kind": "replay", "path": f"{name}.jsonl"}, "chat": False})
    questions = [{"id": f"q-{i}", "question": f"Question {i}?", "answer": "A"} for i in range(12)]
    (data / "asked.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in questions))
    fields = {**place.tiny["fields"], "id": "{{ id }}"}
    place.write(
        "datasets", "asked", {**place.tiny, "sources": [{"kind": "files", "path": "asked.jsonl"}], "fields": fields}
    )
    place.write("suites", "people", {"models": ["ada", "bob"], "datasets": ["asked"], "human": {**PEOPLE, **human}})
    return place


def test_a_suite_that_asks_people_has_a_dag_and_others_have_none(place):
    make_people(place)

    assert list(human_dags()) == ["human__people"]
    assert human_dags(only="human__small") == {}


def test_every_question_is_a_task_of_its_own_between_pick_and_collect(place):
    make_people(place, schedule="0 6 * * 1")

    dag = human_dags()["human__people"]

    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "pick": {"ask"},
        "ask": {"collect"},
        "collect": set(),
    }
    assert dag.get_task("ask").is_mapped
    assert [asset.name for asset in dag.get_task("collect").outlets] == ["results__people"]  # its leaderboard follows
    assert dag.timetable.serialize()["expressions"] == ["0 6 * * 1"]
    assert [dag.params.get_param("seed").value] == [None]


@pytest.mark.slow
def test_the_dag_file_imports_nothing_heavy(place):
    make_people(place)
    heavy = {"torch", "transformers", "pandas", "pyarrow", "great_expectations", "kubernetes", "openai", "openpyxl"}
    script = f"import runpy, sys; dags = runpy.run_path('dags/humans.py'); print(sorted({heavy!r} & set(sys.modules)))"

    parsed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=HOME)

    assert parsed.stdout.splitlines()[-1] == "[]", parsed.stderr


def test_an_answer_waits_for_a_root_that_is_away(place):
    tries = []

    def record():
        tries.append(1)
        if len(tries) < 3:
            raise StorageError("the root is away")

    patiently(record, pauses=(0.0, 0.0))

    assert len(tries) == 3
    with pytest.raises(StorageError):
        patiently(lambda: tries.append(1) or rounds_away(), pauses=(0.0,))
    assert len(tries) == 5


def rounds_away():
    raise StorageError("the root is away")


def test_a_round_that_was_picked_and_is_not_to_be_seen_is_tried_again(place):
    with pytest.raises(StorageError, match="Is the root there, and the same"):
        round_of("people", {"dag_run": SimpleNamespace(run_id="manual__1")})


def test_a_round_of_too_many_questions_is_refused_and_sheets_are_named(place):
    make_people(place, samples=12, raters=2, users=["ada", "bob"])
    for name in ("ada", "bob"):
        run_all(Catalog(place.settings.catalogs), place.settings, Wish(name, "asked", RunParams()))
    context = {"params": {}, "dag_run": SimpleNamespace(run_id="manual__1")}

    questions = PickOperator(task_id="pick", suite="people").execute(context)

    assert len(questions) == 24
    assert questions[:3] == ["1/1", "1/2", "2/1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm_eval.airflow.humans.MOST", 20)
        with pytest.raises(AirflowFailException, match=r"24 questions, .*llm-eval human export people/manual--1"):
            PickOperator(task_id="pick", suite="people").execute(context)


@pytest.fixture(scope="module")
def running(tmp_path_factory, small_catalog):
    folder = tmp_path_factory.mktemp("people")
    place = make_people(small_catalog(folder), hours=50 / 3600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_EVAL_CATALOG", str(place.catalog))
        patch.setenv("LLM_EVAL_ROOT", str(place.root))
        settings = Settings.from_environment({"LLM_EVAL_CATALOG": str(place.catalog), "LLM_EVAL_ROOT": str(place.root)})
        for model in ("ada", "bob"):
            run_all(Catalog(settings.catalogs), settings, Wish(model, "asked", RunParams()))
        with Stack(folder / "airflow") as stack:
            yield stack, place


def address(dag_run):
    return f"/api/v2/dags/{dag_run.dag_id}/dagRuns/{quote(dag_run.run_id, safe='')}"


def open_questions(stack, dag_run):
    return stack.client.all("hitl_details", f"{address(dag_run)}/hitlDetails", response_received=False)


def questions_of(stack, dag_run, count):
    """The open questions of a run, once all are there."""
    limit = time.monotonic() + RUN_SECONDS
    while True:
        found = open_questions(stack, dag_run)
        if len(found) == count:
            return found
        assert time.monotonic() < limit
        assert {task.state for task in stack.client.tasks(dag_run)} & {"failed", "upstream_failed"} == set()
        time.sleep(0.5)


def position(question):
    return int(question["subject"].split()[1])


def answer(stack, dag_run, question, option, comment):
    task = f"{address(dag_run)}/taskInstances/ask/{question['task_instance']['map_index']}/hitlDetails"
    stack.client.call("PATCH", task, {"chosen_options": [option], "params_input": {"comment": comment}})


def answer_until_the_end(stack, dag_run, said):
    """As people do, who answer what they find open: Airflow asks again what is answered at the moment of asking.

    said: option and comment, by position.
    """
    limit = time.monotonic() + RUN_SECONDS
    while next(iter(stack.client.runs([dag_run.dag_id]))).state not in FINISHED:
        assert time.monotonic() < limit
        for question in open_questions(stack, dag_run):
            if position(question) in said:
                answer(stack, dag_run, question, *said[position(question)])
        time.sleep(0.5)


@pytest.mark.airflow
def test_people_are_asked_in_airflow_and_what_they_say_is_published(running):
    stack, place = running
    for dag_id in ("human__people", "leaderboard__people"):
        stack.client.set_paused(dag_id, False)
    dag_run = stack.client.trigger("human__people", {"seed": "golden"})

    questions = questions_of(stack, dag_run, 3)

    made = rounds.read(f"{place.root}/human/people/{rounds.name_of(dag_run.run_id)}")
    assert made.seed == "golden"
    keys = {item.position: key for item, key in zip(made.items, made.keys, strict=True)}
    for question in questions:
        assert question["options"] == ["Answer 1", "Answer 2", "Tie", "Skip"]
        assert [user["id"] for user in question["assigned_users"]] == ["admin"]
        assert verbatim(HOSTILE) in question["body"]  # and no template of it rendered
        assert "7 * 7" in question["body"]
        assert [name for name in ("ada", "bob", dag_run.run_id) if name in question["body"] + question["subject"]] == []

    with pytest.raises(RequestRefused, match="Invalid options"):
        answer(stack, dag_run, questions[0], "Answer 3", "")
    first, second, _left = sorted(keys)
    said = {
        at: (("Answer 1", "Answer 2")[keys[at].models.index(model)], f"because of {model}")
        for at, model in ((first, "ada"), (second, "bob"))
    }
    answer_until_the_end(stack, dag_run, said)
    (outcome,) = wait_for(stack.client, {"people": dag_run}, CONSOLE, RUN_SECONDS)

    assert outcome.reason is None
    rows = [row for row in results.current(results.summary(str(place.root))) if row.judge == "human"]
    assert {(r.model, r.metric, r.value, r.samples, r.scored, r.failed) for r in rows} == {
        ("ada", "human_preference", 0.5, 3, 2, 1),
        ("bob", "human_preference", 0.5, 3, 2, 1),
    }
    files = list((place.root / "results" / "judgements").glob("model=ada/dataset=asked/*.human.people.*.parquet"))
    judgements = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
    assert Counter((j["judge_model"], j["value"], j["status"], j["explanation"]) for j in judgements) == {
        ("human:admin", 1.0, "scored", "because of ada"): 1,
        ("human:admin", 0.0, "scored", "because of bob"): 1,
        ("human", None, "failed", "nobody answered"): 1,
    }
    told = json.loads((place.root / "human" / "people" / made.name / "agreement.json").read_text())
    assert told["counts"] == {"items": 3, "asked": 3, "answered": 2, "unanswered": 1, "raters": 1}
    limit = time.monotonic() + RUN_SECONDS
    while "human_preference" not in _leaderboard(place):
        assert time.monotonic() < limit
        time.sleep(0.5)


def _leaderboard(place):
    path = place.root / "leaderboards" / "people" / "leaderboard.txt"
    return path.read_text() if path.exists() else ""
