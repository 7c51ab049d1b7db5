"""Places that hold a model, a tokenizer or an adapter: a folder of this machine, or one commit of the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Place:
    """Files of one model, tokenizer or adapter.

    address: what `from_pretrained` takes, a folder or a hub id. commit: of the hub; None for a folder.
    folder: where the files lie on this machine; None if they are still on the hub only. files: their names.
    """

    address: str
    commit: str | None
    folder: Path | None
    files: frozenset[str]

    @classmethod
    def at(cls, folder: Path, *, address: str | None = None, commit: str | None = None) -> Self:
        """A folder of this machine, by default as its own address. Files directly in it, hidden ones left out."""
        names = (p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
        return cls(address or str(folder), commit, folder, frozenset(names))

    def __str__(self) -> str:
        return f"{self.address}@{self.commit}" if self.commit else self.address
