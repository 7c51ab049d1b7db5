"""What the documentation shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from llm_eval.catalog import Catalog
from llm_eval.records import Sample
from llm_eval.settings import HOME, Settings
from llm_eval.specs import SuiteSpec
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish
from tests.conftest import CHECKOUT


def blocks(page: str, language: str) -> list[str]:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_dataset_of_the_docs_runs_from_its_two_files(tmp_path: Path):
    (tmp_path / "catalog" / "datasets").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    dataset = next(b for b in blocks("docs/adding.md", "yaml") if b.startswith("name: capitals"))
    (tmp_path / "catalog" / "datasets" / "capitals.yaml").write_text(dataset)
    (tmp_path / "data" / "capitals.csv").write_text(blocks("docs/adding.md", "csv")[0])
    settings = Settings.from_environment({}).with_root(str(tmp_path / "root"))
    settings = settings.with_catalogs((tmp_path / "catalog",))

    run = run_all(Catalog(settings.catalogs), settings, Wish("scripted", "capitals"))

    assert run.dataset_reference == "capitals"


@pytest.mark.parametrize("kind", ["model", "suite"])
def test_the_other_files_of_the_docs_are_valid(tmp_path: Path, kind):
    names = {"model": ("internlm2-chat-1.8b", "my-lora", "our-service"), "suite": ("nightly",)}[kind]
    for block in (b for b in blocks("docs/adding.md", "yaml") if yaml.safe_load(b)["name"] in names):
        name = yaml.safe_load(block)["name"]
        folder = tmp_path / f"{kind}s"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(block)

        catalog = Catalog((HOME / "include" / "catalog", tmp_path))

        assert getattr(catalog, kind)(name).name == name


def test_the_metric_of_the_docs_is_one(monkeypatch):
    from llm_eval import metrics
    from llm_eval.registry import Registry

    monkeypatch.setattr(metrics, "METRICS", Registry("metric"))
    names = {"metric": metrics.metric, "Measure": metrics.Measure, "Sample": Sample}
    source = next(b for b in blocks("docs/adding.md", "python") if "@metric" in b)

    exec(compile(source, "docs/adding.md", "exec"), names)  # our own page, not anybody's input

    sample = Sample("s", "", "q", targets=("Paris",))
    assert metrics.METRICS.get("starts_right").function("P", sample).value == 1.0


def test_every_file_that_the_readme_names_is_there():
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")

    linked = re.findall(r"\]\(([^)#]+)\)", text)

    assert linked
    assert [path for path in linked if not (CHECKOUT / path).exists()] == []


def test_the_suite_that_tells_others_is_valid():
    (block,) = blocks("docs/notifications.md", "yaml")

    suite = SuiteSpec.model_validate(yaml.safe_load(block))

    assert [channel.kind for channel in suite.notify] == ["slack", "feishu", "email"]
