"""What a stack runs its tasks with: as one machine does, or as a team's installation, with workers of Celery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_QUEUE, GPU_QUEUE = "default", "gpu"
VISIBILITY_SECONDS = 7 * 86400
"""Workers acknowledge a message when its task has ended. Redis hands one that is not acknowledged for so long to
another worker as well, so it must be longer than the longest evaluation; Airflow's default is a day."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """`database`: SQLAlchemy's address; None for SQLite in the stack's home. `broker`: Celery's, with that executor.

    `workers`: a Celery worker for each of these queues, and how many tasks it runs at once. `settings`: environment
    variables laid over what the stack says itself.
    """

    executor: str = "LocalExecutor"
    database: str | None = None
    broker: str | None = None
    workers: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """What Airflow is told of it."""
        told = {"AIRFLOW__CORE__EXECUTOR": self.executor}
        if self.database is not None:
            told["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = self.database
        if self.broker is not None:
            told["AIRFLOW__CELERY__BROKER_URL"] = self.broker
            told["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"] = str(VISIBILITY_SECONDS)
            if self.database is not None:
                told["AIRFLOW__CELERY__RESULT_BACKEND"] = f"db+{self.database}"
        return {**told, **self.settings}

    def components(self) -> dict[str, tuple[str, ...]]:
        """The workers, as arguments of `airflow`, by name."""
        return {
            f"worker {queue}": (
                "celery",
                "worker",
                *("--queues", queue),
                *("--concurrency", str(slots)),
                *("--celery-hostname", f"{queue}@%h"),
                "--skip-serve-logs",
                "--without-mingle",
                "--without-gossip",
            )
            for queue, slots in self.workers.items()
        }


LOCAL = Deployment()
