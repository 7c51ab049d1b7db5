"""Who is told of what, and over which of Airflow's connections."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from llm_eval.specs.base import Spec

Event = Literal["failure", "late", "gate", "leaderboard"]
EVENTS: tuple[Event, ...] = ("failure", "late", "gate", "leaderboard")
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$", max_length=320)]


class Channel(Spec):
    """Where messages about a suite go."""

    kind: Literal["slack", "feishu", "lark", "email"]
    """slack: an incoming webhook of Slack or of a server that takes Slack's messages (Mattermost, Rocket.Chat);
    feishu, lark: a custom bot's webhook; email: SMTP."""
    connection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=200)]
    """Name of the Airflow connection that holds the address and the secret."""
    to: tuple[Address, ...] = ()
    """E-mail only: who gets it."""
    events: Annotated[tuple[Event, ...], Field(min_length=1)] = EVENTS
    """failure: a run failed; late: a run is not done `late_after_hours` after it was queued; gate: a checkpoint did not
    pass the suite's gate; leaderboard: a value or a place in it changed."""

    @model_validator(mode="after")
    def _receivers(self) -> Self:
        if self.kind == "email" and not self.to:
            raise ValueError("an email channel needs `to`, a list of addresses")
        if self.kind != "email" and self.to:
            raise ValueError(f"`to` is for email; where a {self.kind} message goes is in its connection")
        return self
