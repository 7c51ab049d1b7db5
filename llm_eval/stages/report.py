"""report: a suite's published results become leaderboard files. Rebuilt whole each time, so that it never lags."""

from __future__ import annotations

import json
import logging

from llm_eval import layout, results, storage
from llm_eval.records import Result
from llm_eval.reporting import leaderboard_files
from llm_eval.reporting.changes import changes, rows_of
from llm_eval.settings import Settings
from llm_eval.specs import SuiteSpec

logger = logging.getLogger(__name__)


def suite_rows(settings: Settings, suite: SuiteSpec) -> list[Result]:
    """Current result rows of the suite's models on its datasets, whichever run made them."""
    rows = results.current(results.summary(settings.root, models=suite.models))
    return [r for r in rows if (f"{r.dataset}_{r.variant}" if r.variant else r.dataset) in suite.datasets]


def report(settings: Settings, suite: SuiteSpec) -> list[str]:
    """Write the suite's leaderboard anew; what changed in it since it was last written, a line each."""
    rows = suite_rows(settings, suite)
    folder = layout.leaderboard(settings.root, suite.name)
    news = changes(_before(folder), rows, suite)
    for name, data in leaderboard_files(rows, suite).items():
        storage.write_bytes(layout.join(folder, name), data)
    logger.info("report: %d rows of %d runs in %s", len(rows), len({r.run_id for r in rows}), folder)
    return news


def _before(folder: str) -> list[Result]:
    """Rows of the leaderboard that lies there; none where there is none, or it cannot be read."""
    # The last of the files to be written: what a report that was cut short did not get to tell is told by the next.
    address = layout.join(folder, "leaderboard.json")
    if not storage.exists(address):
        return []
    try:
        return rows_of(json.loads(storage.read_bytes(address)))
    except (ValueError, TypeError) as error:
        logger.warning("%s is no leaderboard (%s): everything in the new one counts as new", address, error)
        return []
