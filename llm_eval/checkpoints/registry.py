"""The registry of a model's checkpoints: one small file each under `{root}/checkpoints/{model}/`.

A file's name is its checkpoint's creation time, and files are only ever created, never written again: whoever comes
second at a time is told, so that two writers, on one machine or on many, need no lock, and no two checkpoints of a
model share a time. Backfills rely on that: they ask for a range of times, and tell checkpoints apart by them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError

from llm_eval import layout, storage
from llm_eval.errors import InputError, StorageError, UnknownName
from llm_eval.specs import Checkpoint

logger = logging.getLogger(__name__)

_FILE_TIME = "%Y%m%dT%H%M%SZ"
_SUFFIX = ".json"
_READ: dict[tuple[str, str], Checkpoint] = {}
"""By address and state: a scheduler asks for the newest checkpoint all the time, and each file would be a request."""


class Added(NamedTuple):
    """`is_new`: False where the very checkpoint had been registered before."""

    checkpoint: Checkpoint
    is_new: bool


def moment(text: str) -> datetime:
    """UTC, whole seconds, from ISO 8601; a time without a zone is UTC. Raises InputError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is not a time in ISO 8601, such as 2026-11-20T14:05:00+00:00") from error
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Registry:
    """The checkpoints of one model. folder: any fsspec URI."""

    model: str
    folder: str

    @classmethod
    def of(cls, root: str, model: str) -> Registry:
        return cls(model, layout.checkpoints(root, model))

    def entries(self) -> list[Checkpoint]:
        """Oldest first. Raises StorageError for a folder or a file that cannot be read, naming it."""
        return [checkpoint for _, checkpoint in sorted(self._files().items())]

    def add(self, checkpoint: Checkpoint, *, may_move: bool) -> Added:
        """Register a checkpoint. One of the same name and place is left as it is.

        may_move: where another checkpoint has its time already, take the next free second; else that is an error.
        Raises InputError for a name that stands for another place, StorageError if the root cannot be written.
        """
        if (known := self._same(checkpoint)) is not None:
            return Added(known, False)
        at = moment(checkpoint.created_at)
        while True:
            entry = checkpoint.model_copy(update={"created_at": at.isoformat()})
            if storage.create_json(self._address(at), entry.model_dump(mode="json", exclude_none=True)):
                return self._settled(entry)
            other = self._read(self._address(at))
            if other.name == checkpoint.name:
                return self._again(other, checkpoint)
            if not may_move:
                raise InputError(
                    f"model {self.model!r}: checkpoint {other.name!r} was created at {other.created_at} too, and "
                    f"backfills tell checkpoints apart by that time. Register {checkpoint.name!r} with another one."
                )
            at += timedelta(seconds=1)

    def forget(self, name: str) -> Checkpoint:
        """Take a checkpoint out; its results stay. Raises UnknownName."""
        files = self._files()
        for address, checkpoint in files.items():
            if checkpoint.name == name:
                storage.delete(address)
                return checkpoint
        raise UnknownName(f"checkpoint of model {self.model!r}", name, [c.name for c in files.values()])

    def _same(self, checkpoint: Checkpoint) -> Checkpoint | None:
        known = next((c for c in self.entries() if c.name == checkpoint.name), None)
        return None if known is None else self._again(known, checkpoint).checkpoint

    def _again(self, known: Checkpoint, asked: Checkpoint) -> Added:
        if (known.path, known.revision) != (asked.path, asked.revision):
            raise InputError(
                f"model {self.model!r}: checkpoint {asked.name!r} is registered already, as {known.path}. Choose "
                f"another name, or take that one out first: llm-eval checkpoint forget {self.model} {asked.name}"
            )
        return Added(known, False)

    def _settled(self, entry: Checkpoint) -> Added:
        """Two writers may have registered one name at two times: both see both, and both keep the earlier."""
        mine = self._address(moment(entry.created_at))
        first, kept = min((a, c) for a, c in self._files().items() if c.name == entry.name)
        if first == mine:
            return Added(entry, True)
        storage.delete(mine)
        return self._again(kept, entry)

    def _address(self, at: datetime) -> str:
        return layout.join(self.folder, at.strftime(_FILE_TIME) + _SUFFIX)

    def _files(self) -> dict[str, Checkpoint]:
        return {
            address: _READ.get((address, state)) or _READ.setdefault((address, state), self._read(address))
            for address, state in storage.states(self.folder, _SUFFIX).items()
        }

    def _read(self, address: str) -> Checkpoint:
        try:
            return Checkpoint.model_validate(storage.read_json(address))
        except ValidationError as error:
            reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise StorageError(f"{address}: not a checkpoint of the registry ({reasons}). Delete the file.") from error
