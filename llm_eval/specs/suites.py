"""Which models are evaluated on which datasets, and when."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from llm_eval.specs.base import Cron, DatasetReference, Name, Spec, distinct
from llm_eval.specs.humans import Human
from llm_eval.specs.notifications import Channel


class Gate(Spec):
    """When a checkpoint is too bad: on one of the suite's datasets it has surely lost more than `max_drop`."""

    max_drop: Annotated[float, Field(ge=0, lt=1)]
    """Of fractions (accuracy, F1, BLEU) in the fraction itself: 0.01 is one point of a hundred. Of other units, such as
    perplexity, a share of the value compared with. Where lower is better, a rise is the drop."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """One that has lost no more than `max_drop` anywhere is stopped with a chance of at most 1 - confidence."""
    against: Annotated[str, Field(min_length=1)] = "previous"
    """`previous`: the newest checkpoint before it. `best`: that with the highest value before it. Else a checkpoint's
    name."""


class SuiteSpec(Spec):
    """Which models are evaluated on which datasets, and when."""

    name: Name
    description: str = ""
    schedule: Cron | None = None
    """Cron, UTC. Absent: only by hand."""
    only_new: bool = False
    """Of models with checkpoints: leave a night out when the newest checkpoint has been evaluated already."""
    report_after_hours: Annotated[float, Field(gt=0)] = 12.0
    """A checkpoint's report waits so long for the datasets that are late, then names them."""
    models: Annotated[tuple[Name, ...], Field(min_length=1)]
    datasets: Annotated[tuple[DatasetReference, ...], Field(min_length=1)]
    gate: Gate | None = None
    """When a checkpoint's report fails. Absent: never."""
    human: Human | None = None
    """What people are asked about the answers. Absent: nothing."""
    notify: tuple[Channel, ...] = ()
    """Who is told when a run fails or is late, a gate does not let a checkpoint pass, or the leaderboard changes."""
    late_after_hours: Annotated[float, Field(gt=0, le=8760)] | None = None
    """A run that is not done so many hours after it was queued is late. Absent: no run is."""

    _no_repeats = field_validator("models", "datasets")(distinct)

    @model_validator(mode="after")
    def _somebody_hears_of_late_runs(self) -> Self:
        if self.late_after_hours is not None and not any("late" in channel.events for channel in self.notify):
            raise ValueError("late_after_hours without a channel under `notify` that is told of late runs")
        return self

    @model_validator(mode="after")
    def _people_are_asked_about_the_suite(self) -> Self:
        if self.human is None:
            return self
        for kind, asked, own in (
            ("datasets", self.human.datasets, self.datasets),
            ("models", self.human.models, self.models),
        ):
            if strange := [name for name in asked if name not in own]:
                raise ValueError(f"human.{kind}: {', '.join(strange)}: not among the suite's {kind}")
        is_pairs = self.human.ask.kind == "preference" and self.human.ask.against == "models"
        if is_pairs and len(self.human.models or self.models) < 2:
            raise ValueError("human.ask: a preference between models needs two of them, or against: baseline")
        return self
