"""How this installation runs pods, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llm_eval.errors import InputError
from llm_eval.manifests import templates

PREFIX = "LLM_EVAL_POD_"


@dataclass(frozen=True, slots=True)
class PodSettings:
    """template: a pod that every stage's pod is made of. deferrable: wait in the triggerer, not on a worker.

    schedule_seconds: for a node to be found, which may have to be started first. startup_seconds: for an image of 20 GB
    to be pulled. log_seconds: how often the log of a pod that is waited for in the triggerer is fetched.
    """

    template: Path = templates.SHIPPED
    deferrable: bool = True
    schedule_seconds: int = 1800
    startup_seconds: int = 1800
    log_seconds: int = 30

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> PodSettings:
        """LLM_EVAL_POD_TEMPLATE, _DEFERRABLE (true or false), _SCHEDULE_SECONDS, _STARTUP_SECONDS, _LOG_SECONDS.

        Raises InputError for a value that is none.
        """
        said = {
            name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX) and value
        }
        usual = cls()
        return cls(
            template=templates.in_use(environment),
            deferrable=_is_true(said.get("DEFERRABLE", "true")),
            schedule_seconds=_seconds(said, "SCHEDULE_SECONDS", usual.schedule_seconds),
            startup_seconds=_seconds(said, "STARTUP_SECONDS", usual.startup_seconds),
            log_seconds=_seconds(said, "LOG_SECONDS", usual.log_seconds),
        )


def _is_true(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InputError(f"{PREFIX}DEFERRABLE is {value!r}; it must be true or false")
    return value.lower() == "true"


def _seconds(said: Mapping[str, str], name: str, default: int) -> int:
    value = said.get(name, str(default))
    if not value.isdecimal() or int(value) < 1:
        raise InputError(f"{PREFIX}{name} is {value!r}; it must be a whole number of seconds, at least 1")
    return int(value)
