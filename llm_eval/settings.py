"""Where this installation keeps things: read from the environment once, at the edge, and passed down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from llm_eval.errors import InputError

MEMORY_SHARE = "LLM_EVAL_MEMORY_SHARE"
HOME = Path(__file__).resolve().parent.parent  # the checkout


@dataclass(frozen=True, slots=True)
class Settings:
    """root: any fsspec URI. catalogs: later ones lie over earlier ones. datasets, models: folders searched in order.

    memory_share: (0, 1], of the tokens that a local model would read and hold at once.
    """

    root: str
    catalogs: tuple[Path, ...]
    datasets: tuple[Path, ...]
    models: tuple[Path, ...]
    memory_share: float = 1.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """LLM_EVAL_ROOT (default var/ in the checkout), LLM_EVAL_CATALOG (laid over include/catalog),
        LLM_EVAL_DATASETS and LLM_EVAL_MODELS; the last three may list several folders, as PATH does.

        LLM_EVAL_MEMORY_SHARE is set for the next try of a pod that ran out of memory. Raises InputError if it is no
        number in (0, 1].
        """
        catalogs = (HOME / "include" / "catalog", *_folders(environment, "LLM_EVAL_CATALOG"))
        return cls(
            root=_absolute(environment.get("LLM_EVAL_ROOT") or str(HOME / "var")),
            catalogs=catalogs,
            datasets=(*_folders(environment, "LLM_EVAL_DATASETS"), *(c.parent / "data" for c in catalogs)),
            models=(*_folders(environment, "LLM_EVAL_MODELS"), HOME / "var" / "models"),
            memory_share=_share(environment, MEMORY_SHARE),
        )

    def with_root(self, root: str) -> Settings:
        return replace(self, root=_absolute(root))

    def with_catalogs(self, folders: tuple[Path, ...]) -> Settings:
        """These folders laid over the present ones, each with the `data/` folder beside it."""
        folders = tuple(f.resolve() for f in folders)
        return replace(
            self, catalogs=(*self.catalogs, *folders), datasets=(*(f.parent / "data" for f in folders), *self.datasets)
        )


def _absolute(root: str) -> str:
    """A plain path made absolute, so that a child process elsewhere means the same place; URIs stay as they are.

    Raises InputError for a URI with a password in it.
    """
    if "://" not in root:
        return os.path.abspath(os.path.expanduser(root))
    authority = root.partition("://")[2].partition("/")[0]
    if ":" in authority.rpartition("@")[0]:
        raise InputError(
            "the root (--root or LLM_EVAL_ROOT) has a password in it, which logs and a database would keep. Leave it "
            "out, and set what the store's client reads: for S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    return root


def _share(environment: Mapping[str, str], name: str) -> float:
    said = environment.get(name) or "1"
    with suppress(ValueError):
        if 0 < (share := float(said)) <= 1:
            return share
    raise InputError(f"{name} is {said!r}; it must be a number above 0 and at most 1")


def _folders(environment: Mapping[str, str], name: str) -> tuple[Path, ...]:
    return tuple(Path(p).expanduser().resolve() for p in environment.get(name, "").split(os.pathsep) if p)


def find(path: str, folders: tuple[Path, ...]) -> Path | None:
    """The first existing `folder/path`; an absolute path stands for itself. None if there is none.

    Raises InputError for a folder on the way that this user may not enter.
    """
    candidates = [Path(path)] if os.path.isabs(path) else [folder / path for folder in folders]
    for candidate in candidates:
        try:
            if candidate.exists():
                return candidate
        except PermissionError as error:
            raise InputError(f"{candidate}: user {os.geteuid()} may not look there ({error.strerror})") from error
    return None
