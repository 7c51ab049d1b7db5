"""The registry of a model's checkpoints: one small file each under `{root}/checkpoints/{model}/`, called by its name.

No two checkpoints of a model share a time: backfills ask for a range of times, and tell checkpoints apart by them. So
whoever registers one takes its time first, by a file under `times/`, and then its name. Files are only ever created,
never written again, and whoever comes second at one is told: any number of writers, on one machine or on many, needs no
lock, and what each was told stays. A writer that ends in between leaves a time taken, which the same name uses later.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError

from llm_eval import layout, storage
from llm_eval.errors import InputError, NotThere, StorageError, UnknownName
from llm_eval.specs import Checkpoint

_TIMES = "times"
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
        found = []
        for address, state in storage.states(self.folder, _SUFFIX).items():
            with suppress(NotThere):  # forgotten meanwhile
                found.append(_READ.get((address, state)) or _READ.setdefault((address, state), self._read(address)))
        return sorted(found, key=lambda checkpoint: checkpoint.created_at)

    def add(self, checkpoint: Checkpoint, *, may_move: bool) -> Added:
        """Register a checkpoint. One of the same name and place is left as it is.

        may_move: where another checkpoint has its time already, take the next free second; else that is an error.
        Raises InputError for a name that stands for another place, StorageError if the root cannot be written.
        """
        address = self._address(checkpoint.name)
        while True:
            with suppress(NotThere):
                return self._again(self._read(address), checkpoint)
            at, is_taken_here = self._take_time(checkpoint, may_move)
            entry = checkpoint.model_copy(update={"created_at": at.isoformat()})
            if storage.create_json(address, entry.model_dump(mode="json", exclude_none=True)):
                return Added(entry, True)
            with suppress(NotThere):
                if is_taken_here and self._read(address).created_at != entry.created_at:
                    storage.delete(self._time(at))

    def forget(self, name: str) -> Checkpoint:
        """Take a checkpoint out; its results stay. Raises UnknownName."""
        known = {checkpoint.name: checkpoint for checkpoint in self.entries()}
        if name not in known:
            raise UnknownName(f"checkpoint of model {self.model!r}", name, list(known))
        storage.delete(self._address(name))
        if not storage.exists(self._address(name)):  # registered again, with the same time
            storage.delete(self._time(moment(known[name].created_at)))
        return known[name]

    def _take_time(self, checkpoint: Checkpoint, may_move: bool) -> tuple[datetime, bool]:
        """The time that is this name's, and whether it was taken just now: another writer of the name may have it."""
        at = moment(checkpoint.created_at)
        while True:
            taken = self._time(at)
            if storage.create_json(taken, {"name": checkpoint.name}):
                return at, True
            try:
                other = storage.read_json(taken)["name"]
            except NotThere:  # given back since
                continue
            if other == checkpoint.name:
                return at, False
            if not may_move:
                raise InputError(
                    f"model {self.model!r}: checkpoint {other!r} was created at {at.isoformat()} too, and backfills "
                    f"tell checkpoints apart by that time. Register {checkpoint.name!r} with another one."
                )
            at += timedelta(seconds=1)

    def _again(self, known: Checkpoint, asked: Checkpoint) -> Added:
        if (known.path, known.revision) != (asked.path, asked.revision):
            raise InputError(
                f"model {self.model!r}: checkpoint {asked.name!r} is registered already, as {known.path}. Choose "
                f"another name, or take that one out first: llm-eval checkpoint forget {self.model} {asked.name}"
            )
        return Added(known, False)

    def _address(self, name: str) -> str:
        return layout.join(self.folder, name + _SUFFIX)

    def _time(self, at: datetime) -> str:
        return layout.join(self.folder, _TIMES, at.strftime(_FILE_TIME) + _SUFFIX)

    def _read(self, address: str) -> Checkpoint:
        try:
            return Checkpoint.model_validate(storage.read_json(address))
        except ValidationError as error:
            reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise StorageError(f"{address}: not a checkpoint of the registry ({reasons}). Delete the file.") from error
