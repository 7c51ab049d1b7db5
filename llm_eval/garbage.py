"""Python's collector of garbage, kept from walking again and again over what is known to stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Nothing is collected inside, where many objects are made that stay for a while."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def frozen() -> Iterator[None]:
    """As `paused`, and what was made inside is left out of every later collection: for imports.

    An import makes hundreds of thousands of objects that stay for good; collecting meanwhile takes a fifth of its time.
    """
    with paused():
        try:
            yield
        finally:
            gc.freeze()
