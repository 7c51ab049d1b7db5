"""Checkpoint folders that are complete or absent, and that tell which training they come from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm_eval.errors import InputError, StorageError
from llm_eval.storage import read_json, write_json

RECIPE_FILE = "recipe.json"


def is_from(folder: Path, recipe: str) -> bool:
    """Whether `folder` holds a checkpoint of the training with this fingerprint."""
    note = folder / RECIPE_FILE
    return note.is_file() and bool(read_json(str(note)).get("fingerprint") == recipe)


def clear(output: Path, recipe: str) -> None:
    """Make `output` ready for a training: other trainings' checkpoints and interrupted writes go, this one's stay.

    Raises InputError, before anything is removed, if it holds a checkpoint that no training of the demo has written.
    """
    found = sorted(output.glob("step-*"))
    if foreign := [folder for folder in found if not (folder / RECIPE_FILE).is_file()]:
        raise InputError(
            f"{foreign[0]} was not written by this command (it has no {RECIPE_FILE}) and would be taken for one of its "
            "checkpoints. Move it away, or choose another folder with --output."
        )
    for folder in found:
        if not is_from(folder, recipe):
            _remove(folder)
    for partial in output.glob(".step-*.partial"):
        shutil.rmtree(partial)


@contextmanager
def appearing(folder: Path, recipe: str) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` at the end of the block, or vanishes if the block fails."""
    partial = _partial(folder)
    try:
        partial.mkdir(parents=True)
        yield partial
        write_json(str(partial / RECIPE_FILE), {"fingerprint": recipe})
        partial.rename(folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}. Free its disk and run again.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder.rename(_partial(folder)))  # renamed first: it is never seen half removed


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial")  # hidden, so no pattern for checkpoints matches it
