"""A home of its own for Airflow, decided before anything imports it; and a small catalog to work with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import tests.airflow_home  # noqa: F401 - decided before a test module imports airflow
from llm_eval.settings import Settings

CANNED: dict[str, Any] = {"backend": {"kind": "scripted"}, "chat": False, "resources": {"shards": 2}}
GONE: dict[str, Any] = {"backend": {"kind": "transformers", "path": "no/such-folder"}, "chat": False}
TINY: dict[str, Any] = {
    "sources": [{"kind": "files", "path": "tiny.jsonl"}],
    "fields": {"input": "{{ question }}", "targets": "{{ answer }}"},
    "prompt": {"kind": "generate", "template": "{{ input }}"},
    "extract": ["whole_text"],
    "metrics": ["exact_match"],
}
SUITE: dict[str, Any] = {"schedule": "0 2 * * *", "models": ["canned", "gone"], "datasets": ["tiny"]}
ROWS = "".join(f'{{"question": "Question {i}?", "answer": "A"}}\n' for i in range(12))


@dataclass(frozen=True)
class Place:
    """A catalog laid over the checkout's, and a root, both of one test."""

    catalog: Path
    root: Path
    canned = CANNED
    suite = SUITE
    tiny = TINY

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(os.environ)

    def write(self, kind: str, name: str, values: dict[str, Any] | str) -> Path:
        path = self.catalog / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(values if isinstance(values, str) else yaml.safe_dump({"name": name, **values}))
        return path


def make_place(folder: Path) -> Place:
    """A suite `small`: the models `canned` (scripted, two shards) and `gone` (no weights) on the dataset `tiny`."""
    made = Place(folder / "catalog", folder / "root")
    made.write("models", "canned", CANNED)
    made.write("models", "gone", GONE)
    made.write("datasets", "tiny", TINY)
    made.write("suites", "small", SUITE)
    (folder / "data").mkdir()
    (folder / "data" / "tiny.jsonl").write_text(ROWS)
    return made


@pytest.fixture(scope="session")
def small_catalog() -> Callable[[Path], Place]:
    return make_place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The small catalog and a root, as the environment names them."""
    made = make_place(tmp_path)
    monkeypatch.setenv("LLM_EVAL_CATALOG", str(made.catalog))
    monkeypatch.setenv("LLM_EVAL_ROOT", str(made.root))
    return made
