"""Where things are looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llm_eval.errors import InputError
from llm_eval.settings import find

NOBODY = 65534


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may look everywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_the_first_folder_that_has_it_counts(tmp_path: Path):
    for folder in ("second", "third"):
        (tmp_path / folder / "llama").mkdir(parents=True)
    folders = tuple(tmp_path / name for name in ("first", "second", "third"))

    assert find("llama", folders) == tmp_path / "second" / "llama"
    assert find(str(tmp_path / "third"), folders) == tmp_path / "third"
    assert find("mistral", folders) is None


def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path):
    (closed := tmp_path / "closed").mkdir(mode=0)

    with pytest.raises(InputError, match=r"closed/llama: user \d+ may not look there"), as_ordinary_user():
        find("llama", (closed,))
