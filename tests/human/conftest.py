"""Two models that have answered the same eight questions, judged by LLM judges or by none, all in real runs."""

from __future__ import annotations

import pytest

from llm_eval.specs import RunParams
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish
from tests.builders import House

QUESTIONS = 8
HOSTILE = '<script>alert(1)</script>\n````\n![x](http://evil.example/p.png)\n=HYPERLINK("http://evil.example")'
DATASET = {
    "fields": {"id": "{{ id }}", "input": "{{ question }}", "targets": "{{ answer }}"},
    "prompt": {"kind": "generate", "template": "{{ input }}"},
    "extract": ["whole_text"],
    "metrics": ["exact_match"],
}
JUDGE = {
    "model": "critic",
    "verdict": {"kind": "rating", "low": 1, "high": 5, "whole": True},
    "template": "Rate this: {{ answer }}",
    "read": ["whole_reply"],
}


class Asked(House):
    """Models `ada` and `bob` with answers like "ada says 3"; a suite `panel` that asks people about them."""

    def __init__(self, folder):
        super().__init__(folder)
        (self.catalog_folder / "judges").mkdir(exist_ok=True)
        self.jsonl("colours.jsonl", [{"id": i, "question": f"Question {i}?", "answer": "A"} for i in range(QUESTIONS)])
        self.dataset(**DATASET)
        for name in ("ada", "bob"):
            self.answers(name, {i: f"{name[0]}-text {i}" for i in range(QUESTIONS)})
        self.asks({"kind": "preference"})

    def answers(self, model, texts):
        self.jsonl(f"{model}.jsonl", [{"id": str(i), "text": text} for i, text in texts.items()])
        self.model(name=model, backend={"kind": "replay", "path": f"{model}.jsonl"})

    def asks(self, ask, models=("ada", "bob"), **human):
        self.suite(name="panel", models=list(models), human={"ask": ask, "samples": 4, **human})

    def judged_by(self, *replies):
        """The dataset with a judge for each of `replies`, the texts that its scripted model draws from."""
        for number, texts in enumerate(replies, start=1):
            self.model(name=f"critic-{number}", backend={"kind": "scripted", "replies": list(texts)}, chat=True)
            judge = {"name": f"judge-{number}", **JUDGE, "model": f"critic-{number}"}
            self._yaml("judges", judge)
        self.dataset(**DATASET, judge=[f"judge-{n}" for n in range(1, len(replies) + 1)])

    def run(self, *models):
        for model in models or ("ada", "bob"):
            run_all(self.catalog, self.settings, Wish(model, "colours", RunParams()))

    @property
    def panel(self):
        return self.catalog.suite("panel")


@pytest.fixture
def house(tmp_path):
    return Asked(tmp_path)
