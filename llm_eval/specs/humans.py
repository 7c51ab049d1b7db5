"""What a suite asks people: which of two answers is better, or how good one is, for a handful of samples."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from llm_eval.specs.base import Cron, DatasetReference, Name, PositiveInt, Spec, distinct

User = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$", max_length=120)]


class HumanPreference(Spec):
    """Which of two answers is better? Metric: human_preference, the share of its comparisons that a model wins."""

    kind: Literal["preference"]
    against: Literal["models", "baseline"] = "models"
    """`models`: each model against each other one. `baseline`: each against the one of the dataset's `judge`."""


class HumanRating(Spec):
    """How good is the answer, in whole numbers? Metric: human_rating."""

    kind: Literal["rating"]
    low: int = 1
    high: int = 10

    @model_validator(mode="after")
    def _is_a_scale(self) -> Self:
        if not 1 <= self.high - self.low <= 20:
            raise ValueError("the scale's low end must lie below its high end, by 20 at most")
        return self

    @property
    def scale(self) -> tuple[int, ...]:
        return tuple(range(self.low, self.high + 1))


class Human(Spec):
    """What people are asked, how many samples, and by when. One round of it is `human__SUITE` in Airflow, or a file."""

    ask: Annotated[HumanPreference | HumanRating, Field(discriminator="kind")]
    datasets: tuple[DatasetReference, ...] = ()
    """Of the suite's. Absent: all of them."""
    models: tuple[Name, ...] = ()
    """Of the suite's. Absent: all of them."""
    samples: Annotated[int, Field(ge=1, le=1000)] = 10
    """Of each dataset, for each two models that are compared, or each model that is rated."""
    pick: Literal["random", "disagreement"] = "random"
    """`disagreement`: where the LLM judges differ most, or one says otherwise when the answers change places."""
    raters: PositiveInt = 1
    """How many people answer each item; more than one needs as many `users`."""
    users: tuple[User, ...] = ()
    """Who may answer in Airflow: the ids of its users. Absent: whoever may answer there at all."""
    hours: Annotated[float, Field(gt=0, le=8760)] = 72.0
    """How long Airflow waits for an answer. Then the item counts as unanswered, and is never scored."""
    instructions: str = ""
    """What raters should go by; Markdown. Shown above every item."""
    schedule: Cron | None = None
    """Cron, UTC. Absent: only by hand."""

    _no_repeats = field_validator("datasets", "models", "users")(distinct)

    @model_validator(mode="after")
    def _enough_users(self) -> Self:
        if self.raters > 1 and len(self.users) < self.raters:
            raise ValueError(f"raters: {self.raters} needs at least {self.raters} users, so that nobody answers twice")
        return self
