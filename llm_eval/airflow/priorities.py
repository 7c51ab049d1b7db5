"""Who goes first when a pool is full: what a person waits for, then the runs that are nearest to their end."""

from __future__ import annotations

from typing import Any

from airflow.task.priority_strategy import PriorityWeightStrategy

_BY_ITSELF = ("scheduled__", "backfill__")  # how the ids of such runs begin, see CheckpointTimetable and Airflow's own
_BY_HAND = 100  # more than any DAG here has tasks


class ByHandFirst(PriorityWeightStrategy):  # type: ignore[misc]
    """A run by hand before scheduled ones and backfills; of equal runs, the later task.

    Airflow's default lets the earlier task go first: with a full pool all runs begin and none ends.
    """

    def get_weight(self, ti: Any) -> int:
        before = len(ti.task.get_flat_relative_ids(upstream=True))
        return before + (0 if str(ti.run_id).startswith(_BY_ITSELF) else _BY_HAND)


PRIORITY = f"{ByHandFirst.__module__}.{ByHandFirst.__qualname__}"
"""As tasks name it. An instance would be refused for mapped tasks, in the scheduler, which ends by it."""
