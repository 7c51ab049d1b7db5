"""Times as Kubernetes writes them: whole seconds in objects, nanoseconds in logs."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def in_objects(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def in_logs(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
