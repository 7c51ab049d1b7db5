"""What all specs share: strictness, names, and named functions with options."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_serializer,
    model_validator,
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=80)]
DatasetReference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*(_[a-z0-9][a-z0-9.-]*)?$")]
CheckpointName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=120)]
PositiveInt = Annotated[int, Field(ge=1)]
Aggregation = Literal["macro", "micro", "groups"]
GroupName = Annotated[str, StringConstraints(pattern=r"^\w[\w.\- ]*$", max_length=80)]


class Spec(BaseModel):
    """Base of everything a user writes: frozen, unknown keys refused, values hidden in error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class NamedCall(Spec):
    """A registered function and its options. YAML short forms: `last_number`, or `{last_number: {option: 1}}`."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and len(value) == 1 and "name" not in value:
            (name, options), *_ = value.items()
            return {"name": name, "options": options if options is not None else {}}
        return value

    @model_serializer
    def _shortest(self) -> Any:
        return {self.name: self.options} if self.options else self.name


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


NamedCalls = Annotated[tuple[NamedCall, ...], BeforeValidator(_one_or_many)]


def _five_fields(value: str) -> str:
    if not value.startswith("@") and len(value.split()) != 5:
        raise ValueError("schedule is a cron expression of five fields (or @daily, @weekly, …)")
    return value


def distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    """A validator. Raises ValueError that lists what is there twice."""
    if repeated := {v for v in value if value.count(v) > 1}:
        raise ValueError(f"named twice: {', '.join(sorted(repeated))}")
    return value


Cron = Annotated[str, AfterValidator(_five_fields)]
