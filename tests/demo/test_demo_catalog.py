"""The demo's catalog entries: they parse, fit together, and ask what they should."""

from __future__ import annotations

import pytest

from llm_eval import results
from llm_eval.catalog import Catalog
from llm_eval.demo.recipe import Recipe
from llm_eval.preview import previews
from llm_eval.settings import Settings
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish
from tests.conftest import CHECKOUT


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings.from_environment({"LLM_EVAL_ROOT": str(tmp_path)})


@pytest.fixture
def catalog(settings) -> Catalog:
    return Catalog(settings.catalogs)


def test_the_nightly_suite_evaluates_the_demo_model_on_both_demo_datasets(catalog):
    suite = catalog.suite("nightly")

    assert (suite.schedule, suite.models) == ("0 2 * * *", ("demo",))
    assert {catalog.dataset(name).prompt.kind for name in suite.datasets} == {"generate", "choices"}


def test_the_demo_model_is_where_the_training_puts_it(catalog):
    checkpoints = catalog.model("demo").checkpoints

    output = CHECKOUT / "var" / "models" / checkpoints.path
    assert all(folder.match(checkpoints.pattern) for folder in Recipe().checkpoint_folders(output).values())


def test_animal_questions_come_with_two_examples_and_the_choices_themselves(catalog, settings):
    shown = list(previews(catalog, settings, "demo", "demo-animals", None))

    assert len(shown) == 200
    for item in shown:
        assert [message.role for message in item.messages] == ["user", "assistant", "user", "assistant", "user"]
        assert item.messages[1] != item.messages[3]
        assert item.request.continuations == item.sample.choices


@pytest.mark.slow
@pytest.mark.parametrize(
    "dataset", ["demo-addition", "demo-addition_sampled", "demo-animals", "demo-animals_zero-shot"]
)
def test_every_stage_accepts_the_dataset(catalog, settings, dataset):
    run = run_all(catalog, settings, Wish("scripted", dataset))

    headline = next(row for row in results.summary(settings.root) if row.headline)
    assert (headline.run_id, headline.samples, headline.failed) == (run.run_id, 200, 0)
