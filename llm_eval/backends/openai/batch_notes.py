"""What one shard has handed in to a server's batch API, noted beside its responses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from llm_eval import layout, storage
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import StorageError


@dataclass(frozen=True, slots=True)
class Note:
    """One batch. place: the note's own address. id, url: of the batch, and of where it was handed in.

    variable: names the key that it was handed in with; None for none. asked: its requests, by their `custom_id`.
    is_given_out: its answers came to whoever waited for them, though they may have been lost with him. is_lost: the
    server does not know it any more, or refused it. Notes are never deleted: another run may have taken the place.
    """

    place: str
    id: str
    url: str
    variable: str | None
    asked: frozenset[str]
    is_given_out: bool = False
    is_lost: bool = False

    def write(self) -> None:
        storage.write_json(self.place, self._values())

    def _values(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "place"} | {"asked": sorted(self.asked)}

    def create(self) -> bool:
        """False, and nothing written, where somebody else has put a note there meanwhile."""
        return storage.create_json(self.place, self._values())

    def given_out(self) -> Note:
        return replace(self, is_given_out=True)

    def lost(self) -> Note:
        return replace(self, is_lost=True)


def read_notes(workplace: Workplace, who: str) -> list[Note]:
    """Of this shard, in the order they were made. Raises StorageError for one that cannot be read.

    `who`: identity of whom is asked; several judges may be asked the same, with notes in the same folder.
    """
    found = [
        f for f in storage.files(workplace.folder, ".json") if f.rpartition("/")[2].startswith(_prefix(workplace, who))
    ]
    return [_note(address, storage.read_json(address)) for address in found]


def new_place(workplace: Workplace, who: str, notes: Iterable[Note]) -> str:
    """Where the next note of this shard goes."""
    last = max((int(note.place.removesuffix(".json").rpartition("-")[2]) for note in notes), default=-1)
    return layout.join(workplace.folder, f"{_prefix(workplace, who)}{last + 1:05d}.json")


def _prefix(workplace: Workplace, who: str) -> str:
    return f"batch-{who}-{workplace.shard.index}of{workplace.shard.count}-"


def _note(address: str, values: Any) -> Note:
    try:
        return Note(address, **{**values, "asked": frozenset(values["asked"])})
    except (KeyError, TypeError) as error:
        raise StorageError(
            f"{address} is no note of a batch ({error}). Delete it to hand its requests in anew."
        ) from error
