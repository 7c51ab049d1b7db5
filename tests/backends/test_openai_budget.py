"""A budget ends the asking cleanly, and a higher one goes on from there."""

import json
import subprocess
import sys

import pytest

from llm_eval import storage
from llm_eval.backends.openai import OpenAIModel, purse
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import BudgetSpent, InputError, InvalidSpec
from llm_eval.layout import WHOLE, Layout, Shard
from llm_eval.records import Response
from llm_eval.specs import Generation, RunParams
from llm_eval.stages import run_stage
from llm_eval.stages.infer import read_responses
from llm_eval.stages.parts import PartWriter
from llm_eval.stages.plan import Wish, plan
from tests.backends.api_server import Reply, said, serving
from tests.backends.served import ask, questions, served
from tests.builders import NOON
from tests.conftest import CHECKOUT

pytestmark = pytest.mark.usefixtures("short_pauses")

PRICE = {"input_per_million": 1.0, "output_per_million": 1.0}  # `said` counts 7 + 3 tokens: 0.00001 USD


def slow(body, number):
    return Reply(said("B").body, seconds=0.05)


def write(folder, count):
    """A part of so many responses; returns what its name begins with."""
    storage.make_folder(folder)
    with PartWriter(folder, WHOLE) as parts:
        for id in range(count):
            parts.add(Response(f"old-{id}", text="A", input_tokens=7, output_tokens=3, cost_usd=0.00001))
        return parts.name


def test_what_is_in_flight_is_taken_and_nothing_more_is_asked():
    taken = []
    with serving(slow) as server:
        model = OpenAIModel.open(served(server, max_in_flight=4, budget={"max_tokens": 100}), None, "d", None)
        with pytest.raises(BudgetSpent) as stopped:
            taken.extend(model.answer(questions(50), Generation()))
        model.close()

    assert len(taken) == len(server.asked)
    assert 10 <= len(server.asked) <= 13
    assert str(stopped.value).startswith(
        f"model 'served': the budget is spent, {10 * len(server.asked)} of 100 tokens (all responses of this "
        f"fingerprint together), with {50 - len(server.asked)} answers left to ask for. What was answered stays"
    )


def test_money_is_counted_by_the_price():
    with (
        serving(slow) as server,
        pytest.raises(BudgetSpent, match=r"spent, 5e-05 of 5e-05 USD .*budget\.max_cost_usd=…"),
    ):
        ask(server, questions(50), max_in_flight=1, price=PRICE, budget={"max_cost_usd": 0.00005})

    assert len(server.asked) == 5


def test_a_budget_that_ends_with_the_last_answer_was_enough():
    with serving(slow) as server:
        answered = ask(server, questions(10), max_in_flight=1, budget={"max_tokens": 100})

    assert len(answered) == 10


def test_what_earlier_runs_have_spent_is_counted_and_ones_own_parts_not_twice(tmp_path):
    folder = str(tmp_path / "responses")
    write(folder, 6)
    own = write(folder, 90)
    with serving(slow) as server, pytest.raises(BudgetSpent, match="100 of 100 tokens"):
        ask(
            server,
            questions(50),
            place=Workplace(str(tmp_path), folder, WHOLE, own),
            max_in_flight=1,
            budget={"max_tokens": 100},
        )

    assert len(server.asked) == 4


def test_what_another_shard_spends_meanwhile_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(purse, "SECONDS_BETWEEN_LOOKS", 0.02)
    folder = str(tmp_path / "responses")
    storage.make_folder(folder)

    def answer(body, number):
        if number == 3:
            write(folder, 100)
        return Reply(said("B").body, seconds=0.2)

    place = Workplace(str(tmp_path), folder, Shard(0, 2), "part-mine")
    with serving(answer) as server, pytest.raises(BudgetSpent):
        ask(server, questions(50), place=place, max_in_flight=1, budget={"max_tokens": 1000})

    assert len(server.asked) <= 5


def test_a_server_that_does_not_count_has_no_budget():
    body = {**said("x").body, "usage": None}
    with (
        serving(lambda b, n: Reply(body)) as server,
        pytest.raises(InputError, match="does not say how many tokens it"),
    ):
        ask(server, questions(50), max_in_flight=1, budget={"max_tokens": 1000})

    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({}, "max_cost_usd, max_tokens or both"),
        ({"max_cost_usd": 1.0}, "needs `price`"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(house, budget, words):
    house.model(name="served", backend={"kind": "openai", "model": "m", "budget": budget}, chat=True)

    with pytest.raises(InvalidSpec, match=words):
        house.catalog.model("served")


def test_a_raised_budget_goes_on_with_what_is_left(house):
    def run(max_tokens):
        params = RunParams(overrides={"model.backend.budget.max_tokens": max_tokens})
        planned = plan(house.catalog, house.settings, Wish("served", "colours", params), NOON)
        place = Layout(house.settings.root, planned)
        for stage in ("fetch", "validate", "render", "infer"):
            run_stage(stage, place.run_uri, house.settings)
        return place

    with serving(slow) as server:
        backend = {"kind": "openai", "model": "m", "base_urls": [server.url], "max_in_flight": 1}
        house.model(name="served", backend=backend, chat=True)
        with pytest.raises(BudgetSpent, match="with 7 answers left"):
            run(50)
        place = run(1000)

    assert len(server.asked) == 12
    assert len(read_responses(place)) == 12


@pytest.mark.slow
def test_the_command_line_says_what_was_spent_and_how_to_go_on(house):
    with serving(lambda body, number: said("(B)")) as server:
        backend = {"kind": "openai", "model": "m", "base_urls": [server.url], "max_in_flight": 1}
        house.model(name="served", backend={**backend, "price": PRICE, "budget": {"max_cost_usd": 0.00005}}, chat=True)
        command = [sys.executable, "-m", "llm_eval", "--catalog", str(house.catalog_folder)]
        command += ["--root", house.settings.root, "run", "-m", "served", "-d", "colours", "--format", "json"]
        stopped = subprocess.run(command, capture_output=True, cwd=CHECKOUT, timeout=120, text=True)
        more = ["--set", "model.backend.budget.max_cost_usd=1"]
        done = subprocess.run([*command, *more], capture_output=True, cwd=CHECKOUT, timeout=120, text=True)

    assert stopped.returncode == 3
    assert "the budget is spent, 5e-05 of 5e-05 USD" in stopped.stderr
    assert "--set model.backend.budget.max_cost_usd=…" in stopped.stderr
    assert done.returncode == 0, done.stderr
    (headline,) = (row for row in json.loads(done.stdout) if row["headline"])
    assert (headline["samples"], headline["cost_usd"], len(server.asked)) == (12, 0.00012, 12)
