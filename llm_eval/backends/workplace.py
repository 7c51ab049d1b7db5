"""Where a backend answers: what it may have to know of the stage that opened it."""

from __future__ import annotations

from dataclasses import dataclass

from llm_eval.layout import Shard


@dataclass(frozen=True, slots=True)
class Workplace:
    """root: under which everything lies. folder: where the responses of this run lie, and of all others with its
    fingerprint. own_parts: what the names of the parts begin with that this process writes there. outdated: names
    of files in there whose answers do not count, as they came before the run was forced. waits: for what takes hours;
    else StillWaiting is raised, and somebody comes again.
    """

    root: str
    folder: str
    shard: Shard
    own_parts: str
    outdated: frozenset[str] = frozenset()
    waits: bool = True

    def is_own(self, part: str) -> bool:
        """Whether this file of `folder` is written by this process."""
        return part.rpartition("/")[2].startswith(self.own_parts)
