"""Which models are evaluated on which datasets, and when."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from llm_eval.specs.base import DatasetReference, Name, Spec


class SuiteSpec(Spec):
    """Which models are evaluated on which datasets, and when."""

    name: Name
    description: str = ""
    schedule: str | None = None
    """Cron, UTC. Absent: only by hand."""
    only_new: bool = False
    """Of models with checkpoints: leave a night out when the newest checkpoint has been evaluated already."""
    report_after_hours: Annotated[float, Field(gt=0)] = 12.0
    """A checkpoint's report waits so long for the datasets that are late, then names them."""
    models: Annotated[tuple[Name, ...], Field(min_length=1)]
    datasets: Annotated[tuple[DatasetReference, ...], Field(min_length=1)]

    @field_validator("models", "datasets")
    @classmethod
    def _no_repeats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := {v for v in value if value.count(v) > 1}:
            raise ValueError(f"named twice: {', '.join(sorted(repeated))}")
        return value

    @field_validator("schedule")
    @classmethod
    def _five_fields(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("@") and len(value.split()) != 5:
            raise ValueError("schedule is a cron expression of five fields (or @daily, @weekly, …)")
        return value
