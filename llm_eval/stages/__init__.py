"""The steps of a run, one file per verb. `run_stage` is what the command line, the worker and the pod all call."""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import dataclass, field
from typing import Protocol, cast

from llm_eval import layout, storage, tables  # noqa: F401 - tables: pyarrow is paid for once, before any fork
from llm_eval.catalog import parse
from llm_eval.errors import InputError, NotThere, StorageError, UnknownName
from llm_eval.layout import WHOLE, Layout, Shard
from llm_eval.settings import Settings
from llm_eval.specs import RunSpec
from llm_eval.stages import forced

logger = logging.getLogger(__name__)

STAGES = ("fetch", "validate", "render", "infer", "score", "publish")
"""Of every run, in order; `plan` comes before, `report` after them."""
JUDGING = ("judge", "verdict")
"""Before publish, where answers are judged."""

Counts = dict[str, int | float]


@dataclass(frozen=True, slots=True)
class StageReport:
    """What one stage did. `skipped`: its manifest was there already, and the counts are from then."""

    stage: str
    uri: str
    skipped: bool
    seconds: float
    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage is a function of, apart from the files it reads."""

    run: RunSpec
    layout: Layout
    settings: Settings
    shard: Shard = WHOLE
    force: bool = False
    judge: str = ""
    """Name of the judge that the judge stage asks."""
    waits: bool = True
    """For what a server takes hours to do; else StillWaiting is raised, and the stage goes on when it is run again."""


class Stage(Protocol):
    """A module of this package."""

    def manifest(self, context: StageContext) -> str:
        """Address of the file whose presence means that this stage is complete."""
        ...

    def run(self, context: StageContext) -> Counts:
        """Do the work and return its counts. Everything but the manifest is written here."""
        ...


def load_run(run_uri: str) -> RunSpec:
    """The run planned at `run_uri`. Raises InputError if there is none."""
    address = layout.join(run_uri.removesuffix("/run.json"), "run.json")
    try:
        planned = storage.read_json(address)
    except NotThere as error:
        raise InputError(f"{address}: there is no such run. `llm-eval plan -m MODEL -d DATASET` makes one.") from error
    return parse(RunSpec, planned, address)


def run_stage(
    stage: str,
    run_uri: str,
    settings: Settings,
    *,
    shard: Shard = WHOLE,
    force: bool = False,
    judge: str = "",
    waits: bool = True,
) -> StageReport:
    """Run one stage of a planned run, or find that it is done.

    Done means that the stage's manifest is there: it is written last, so a killed stage is simply run again. `force`,
    or the run's own `force` parameter, redoes a finished stage. `judge`: which one the judge stage asks; empty: the
    run's only one.
    """
    if stage not in (*STAGES, *JUDGING):
        raise UnknownName("stage", stage, (*STAGES, *JUDGING))
    root = layout.root_of(run_uri)
    run = load_run(run_uri)
    if stage in JUDGING and not run.judges:
        raise InputError(f"{run_uri}: nothing is judged in this run; its dataset names no judge")
    if stage == "judge" and not judge and len(run.judges) > 1:
        raise InputError(f"{run_uri} has several judges, say which: {', '.join(j.spec.name for j in run.judges)}")
    named = run.judge(judge or run.judges[0].spec.name).spec.name if stage == "judge" else ""
    context = StageContext(run, Layout(root, run), settings, shard, force or run.params.force, named, waits)
    module = cast(Stage, importlib.import_module(f"{__name__}.{stage}"))
    manifest = module.manifest(context)
    if not context.force and (done := _finished(manifest)) is not None:
        logger.info("%s: done before, see %s", stage, manifest)
        return StageReport(stage, manifest, skipped=True, seconds=0.0, counts=done)
    logger.info("%s: %s on %s, run %s", stage, run.model.name, run.dataset_reference, run.run_id)
    started = time.monotonic()
    counts = module.run(context)
    seconds = round(time.monotonic() - started, 3)
    if not storage.exists(layout.join(context.layout.run_uri, "run.json")):
        raise StorageError(f"{context.layout.run_uri}: the root went away during {stage}, which has to run again")
    storage.write_json(
        manifest, {"stage": stage, "code_version": run.code_version, "seconds": seconds, "counts": counts}
    )
    if stage in ("infer", "judge"):
        forced.is_over(context, stage)
    logger.info("%s: %s in %.1f s", stage, ", ".join(f"{k} {v}" for k, v in counts.items()), seconds)
    return StageReport(stage, manifest, skipped=False, seconds=seconds, counts=counts)


def _finished(manifest: str) -> Counts | None:
    """Counts of a finished stage; None if it must run. One that left failures behind is run again: they may pass."""
    counts = read_counts(manifest)
    return None if counts is None or counts.get("failed") else counts


def read_counts(manifest: str) -> Counts | None:
    """What a stage's manifest counts; None if there is none, or it is torn, which costs that stage another run."""
    try:
        counts: Counts = storage.read_json(manifest)["counts"]
    except NotThere:
        return None
    except (StorageError, KeyError, TypeError):
        logger.warning("%s cannot be read: its stage has to run again", manifest)
        return None
    return counts
