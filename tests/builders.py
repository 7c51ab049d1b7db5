"""Builds what tests need, with defaults that do not matter: a test spells out only what it is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from llm_eval.catalog import Catalog
from llm_eval.demo.recipe import Recipe
from llm_eval.judging.subjects import Subject
from llm_eval.records import Judgement, Request, Response, Sample, Score
from llm_eval.settings import Settings
from llm_eval.specs import JudgeSpec

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TINY_DEMO = Recipe(steps=10, sums_per_step=4, animal_conversations_per_step=2, hidden=16, mlp=16, layers=1)
"""The demo's model in miniature: four checkpoints in a few seconds."""


def sample(id: str = "s-1", **fields: Any) -> Sample:
    return Sample(**{"id": id, "subset": "", "input": "What is it?", "targets": ("A",), **fields})


def choice_sample(id: str = "s-1", choices: Sequence[str] = ("red", "green", "blue", "grey"), **fields: Any) -> Sample:
    return sample(id, choices=tuple(choices), **fields)


def request(id: str = "s-1", **fields: Any) -> Request:
    return Request(**{"id": id, "sample_id": id, "kind": "generate", "text": "What is it?", **fields})


def response(id: str = "s-1", text: str | None = "A", **fields: Any) -> Response:
    return Response(**{"request_id": id, "text": text, **fields})


def score(id: str = "s-1", value: float | None = 1.0, **fields: Any) -> Score:
    defaults = {"subset": "", "attempt": 0, "metric": "accuracy", "status": "failed" if value is None else "scored"}
    return Score(**{"sample_id": id, "value": value, **defaults, **fields})


JUDGE: dict[str, Any] = {
    "name": "grader",
    "model": "grader-model",
    "verdict": {"kind": "correctness"},
    "template": "Question: {{ input }}\nReference: {{ reference }}\nAnswer: {{ answer }}\nCORRECT or INCORRECT?",
    "read": ["whole_reply"],
}
RATING = {"verdict": {"kind": "rating"}, "read": [{"last_tag": {"unique": False}}]}
PAIR = {
    "verdict": {"kind": "pairwise", "labels": {"A": "first", "B": "second", "C": "tie"}},
    "template": "{{ input }}\n[A]{{ first }}[/A]\n[B]{{ second }}[/B]",
    "read": ["last_tag"],
}


def judge(**changes: Any) -> JudgeSpec:
    return JudgeSpec.model_validate({**JUDGE, **changes})


def subject(answer: str = "red", *others: str, **fields: Any) -> Subject:
    """One answer to judge; `others` are those of baselines called m-1, m-2, …"""
    named = tuple((f"m-{place}", (text,)) for place, text in enumerate(others, start=1))
    given = {"sample": sample(), "attempt": 0, "turn": 1, "answers": (answer,), "others": named, **fields}
    return Subject(**given)


def judgement(id: str = "s-1", value: float | None = 1.0, **fields: Any) -> Judgement:
    defaults = {"subset": "", "attempt": 0, "turn": 1, "judge": "grader", "order": None, "opponents": ()}
    status = "failed" if value is None else "scored"
    return Judgement(**{"sample_id": id, "value": value, "verdict": None, "status": status, **defaults, **fields})


DATASET: dict[str, Any] = {
    "name": "colours",
    "sources": [{"kind": "files", "path": "colours.jsonl"}],
    "fields": {
        "id": "{{ id }}",
        "input": "{{ question }}",
        "choices": "{{ choices }}",
        "targets": "{{ answer }}",
    },
    "prompt": {"kind": "generate", "template": "{{ input }}\nAnswer:"},
    "extract": ["declared_choice"],
    "metrics": ["accuracy"],
}
MODEL: dict[str, Any] = {"name": "canned", "backend": {"kind": "scripted"}, "chat": False}


def rows(count: int, **columns: Any) -> list[dict[str, Any]]:
    """Four-choice questions numbered from 0; the right answer goes round A, B, C, D."""
    choices = ["red", "green", "blue", "grey"]
    return [
        {"id": i, "question": f"Which colour has number {i}?", "choices": choices, "answer": "ABCD"[i % 4], **columns}
        for i in range(count)
    ]


class House:
    """A project of its own in a temporary folder: catalog, data, models and root, with one dataset and one model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog_folder = folder / "include" / "catalog"
        self.data = folder / "include" / "data"
        for kind in ("datasets", "models", "judges", "suites"):
            (self.catalog_folder / kind).mkdir(parents=True)
        self.data.mkdir()
        (folder / "models").mkdir()
        self.settings = Settings(
            root=str(folder / "root"),
            catalogs=(self.catalog_folder,),
            datasets=(self.data,),
            models=(folder / "models",),
        )
        self.dataset()
        self.model()
        self.jsonl("colours.jsonl", rows(12))

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.settings.catalogs)

    def dataset(self, **changes: Any) -> None:
        self._yaml("datasets", {**DATASET, **changes})

    def model(self, **changes: Any) -> None:
        self._yaml("models", {**MODEL, **changes})

    def judge(self, **changes: Any) -> None:
        self._yaml("judges", {**JUDGE, **changes})

    def suite(self, **changes: Any) -> None:
        self._yaml("suites", {"name": "nightly", "models": ["canned"], "datasets": ["colours"], **changes})

    def _yaml(self, kind: str, values: dict[str, Any]) -> None:
        path = self.catalog_folder / kind / f"{values['name']}.yaml"
        path.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")

    def jsonl(self, name: str, lines: Sequence[dict[str, Any]]) -> Path:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        return path
