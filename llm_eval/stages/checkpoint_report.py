"""checkpoint report: what a checkpoint scored on a suite, and what changed since the one before.

`{root}/reports/{suite}/{model}/{checkpoint}/report.{html,md,txt,json}`, written anew each time from what is published.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from llm_eval import layout, results, storage
from llm_eval.comparison import CheckpointReport, build_report
from llm_eval.errors import InputError
from llm_eval.reporting import report_files, report_from_json
from llm_eval.settings import Settings
from llm_eval.specs import SuiteSpec

logger = logging.getLogger(__name__)


def checkpoint_report(
    settings: Settings, suite: SuiteSpec, model: str, checkpoint: str, missing: Mapping[str, str] | None = None
) -> CheckpointReport:
    """The report, after its four files are written; each file appears whole or not at all, report.json last.

    missing: datasets that will not come, and why ("late", "failed"). `comparison.gate` judges what comes back.
    """
    report = build_report(settings.root, suite, model, checkpoint, missing)
    folder = layout.checkpoint_report(settings.root, suite.name, model, checkpoint)
    for name, data in report_files(report).items():
        storage.write_bytes(layout.join(folder, name), data)
    logger.info(
        "report: %s@%s on %s, %d datasets, %d missing, in %s",
        model, checkpoint, suite.name, len(report.rows), len(report.missing), folder,
    )  # fmt: skip
    return report


def read_checkpoint_report(settings: Settings, suite: str, model: str, checkpoint: str) -> CheckpointReport:
    """What `checkpoint_report` has written last. Raises InputError if it never did."""
    address = layout.join(layout.checkpoint_report(settings.root, suite, model, checkpoint), "report.json")
    if not storage.exists(address):
        raise InputError(f"{address}: there is no report of {model}@{checkpoint} on suite {suite!r} yet")
    return report_from_json(storage.read_bytes(address))


def newest_checkpoint(settings: Settings, suite: SuiteSpec, model: str) -> str:
    """The newest of a model's checkpoints that has a result on one of the suite's datasets. Raises InputError."""
    if model not in suite.models:
        raise InputError(f"suite {suite.name!r} does not evaluate model {model!r}. It has: {', '.join(suite.models)}.")
    rows = results.summary(settings.root, models=(model,), datasets=suite.datasets)
    newest = results.newest_checkpoints(rows).get(model)
    if newest is None:
        raise InputError(
            f"model {model!r} has no checkpoint with results on suite {suite.name!r} under {settings.root} yet"
        )
    return newest
