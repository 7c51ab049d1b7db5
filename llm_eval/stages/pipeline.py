"""All stages of a run, one after the other: what `llm-eval run` does. Only infer may take processes of its own."""

from __future__ import annotations

from datetime import UTC, datetime

from llm_eval.catalog import Catalog
from llm_eval.layout import Layout
from llm_eval.settings import Settings
from llm_eval.specs import RunSpec
from llm_eval.stages import STAGES, run_stage
from llm_eval.stages.plan import Wish, plan
from llm_eval.stages.shards import infer


def run_all(catalog: Catalog, settings: Settings, wish: Wish) -> RunSpec:
    """Plan what `wish` asks for and run it to its published rows."""
    run = plan(catalog, settings, wish, datetime.now(UTC))
    address = Layout(settings.root, run).run_uri
    for stage in STAGES:
        if stage == "infer":
            infer(run, settings)
            continue
        if stage == "publish" and run.judges:
            for judge in run.judges:
                run_stage("judge", address, settings, judge=judge.spec.name)
            run_stage("verdict", address, settings)
        run_stage(stage, address, settings)
    return run
