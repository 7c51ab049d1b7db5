"""A house whose model answers from a file and whose judge is a real server on this machine: it says what tests want."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from llm_eval import results, tables
from llm_eval.layout import Layout
from llm_eval.records import PublishedJudgement
from llm_eval.stages import run_stage
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish, parse_params, plan
from tests.backends.api_server import Reply, Server, said, serving
from tests.builders import NOON, House

QUESTIONS = [{"id": f"q-{i}", "question": f"Question {i}?", "answer": f"right {i}"} for i in range(10)]
DATASET = {
    "fields": {"id": "{{ id }}", "input": "{{ question }}", "targets": "{{ answer }}"},
    "prompt": {"kind": "generate", "template": "{{ input }}"},
    "extract": [],
    "metrics": [],
    "judge": "grader",
}


class Court:
    """A house with judges in it; `answers` are what its model says to q-0, q-1, …"""

    def __init__(self, house: House, answers: list[object]) -> None:
        self.house = house
        self.settings = house.settings
        self.dataset()
        house.judge()
        house.jsonl("colours.jsonl", QUESTIONS[: len(answers)])
        self.model("canned", answers)

    def dataset(self, **changes) -> None:
        self.house.dataset(**{**DATASET, **changes})

    def model(self, name: str, answers: list[object]) -> None:
        self.house.jsonl(f"{name}.jsonl", [{"id": f"q-{i}", "text": t} for i, t in enumerate(answers) if t is not None])
        self.house.model(name=name, backend={"kind": "replay", "path": f"{name}.jsonl"}, chat=True)

    @contextmanager
    def judged(self, say: Callable[[str], str | Reply], **options: object) -> Iterator[Server]:
        """`say`: the judge's reply to the last thing it was told; `options`: of the backend that asks it."""

        def answer(body, _number) -> Reply:
            reply = say(body["messages"][-1]["content"])
            return reply if isinstance(reply, Reply) else said(reply)

        with serving(answer) as server:
            backend = {"kind": "openai", "model": "m", "base_urls": [server.url], "patience_seconds": 0, **options}
            self.house.model(name="grader-model", backend=backend, chat=True)
            yield server

    def planned(self, model: str = "canned", **params):
        run = plan(self.house.catalog, self.settings, Wish(model, "colours", parse_params(params, "test")), NOON)
        return run, Layout(self.settings.root, run).run_uri

    def run(self, model: str = "canned", **params):
        """A finished run's summary rows by metric, those of the whole."""
        run = run_all(self.house.catalog, self.settings, Wish(model, "colours", parse_params(params, "test")))
        rows = results.summary(self.settings.root)
        return {r.metric: r for r in rows if r.run_id == run.run_id and r.subset == "all"}

    def stages(self, address: str, *names: str, **options) -> dict[str, dict[str, int | float]]:
        return {name: run_stage(name, address, self.settings, **options).counts for name in names}

    def judgements(self, run) -> list[PublishedJudgement]:
        return tables.read(Layout(self.settings.root, run).result("judgements"), PublishedJudgement)


@pytest.fixture
def court(house: House) -> Callable[..., Court]:
    return lambda *answers: Court(house, list(answers))
