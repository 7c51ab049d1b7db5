"""report: a suite's published results become leaderboard files. Rebuilt whole each time, so that it never lags."""

from __future__ import annotations

import logging

from llm_eval import layout, results, storage
from llm_eval.records import Result
from llm_eval.reporting import leaderboard_files
from llm_eval.settings import Settings
from llm_eval.specs import SuiteSpec

logger = logging.getLogger(__name__)


def suite_rows(settings: Settings, suite: SuiteSpec) -> list[Result]:
    """Current result rows of the suite's models on its datasets, whichever run made them."""
    rows = results.current(results.summary(settings.root, models=suite.models))
    return [r for r in rows if (f"{r.dataset}_{r.variant}" if r.variant else r.dataset) in suite.datasets]


def report(settings: Settings, suite: SuiteSpec) -> list[str]:
    """Addresses of the suite's leaderboard files, just written."""
    rows = suite_rows(settings, suite)
    folder = layout.leaderboard(settings.root, suite.name)
    files = leaderboard_files(rows, suite)
    for name, data in files.items():
        storage.write_bytes(layout.join(folder, name), data)
    logger.info("report: %d rows of %d runs in %s", len(rows), len({r.run_id for r in rows}), folder)
    return [layout.join(folder, name) for name in files]
