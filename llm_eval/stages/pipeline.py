"""All stages of a run, one after the other, in this process: what `llm-eval run` does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from llm_eval.catalog import Catalog
from llm_eval.layout import Layout
from llm_eval.settings import Settings
from llm_eval.specs import RunSpec
from llm_eval.stages import STAGES, StageReport, run_stage
from llm_eval.stages.plan import Wish, plan


def run_all(
    catalog: Catalog, settings: Settings, wish: Wish, tell: Callable[[StageReport], None] = lambda _: None
) -> RunSpec:
    """Plan what `wish` asks for and run it to its published rows; `tell` hears of each finished stage."""
    run = plan(catalog, settings, wish, datetime.now(UTC))
    address = Layout(settings.root, run).run_uri
    for stage in STAGES:
        tell(run_stage(stage, address, settings))
    return run
