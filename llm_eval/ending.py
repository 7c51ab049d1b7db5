"""Ends a process that has loaded large libraries without taking them apart first, which takes half a second or more."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress

_LARGE = ("great_expectations", "torch")


def end(code: str | int | None) -> None:
    """End this process as `SystemExit(code)` would; returns where that has to do it.

    Exit handlers run, and output is flushed. It returns where nothing large was loaded, where a thread is still to be
    waited for, or where output cannot be written: Python knows how to say so.
    """
    threads = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    if threads or isinstance(code, str) or not any(name in sys.modules for name in _LARGE):
        return
    try:
        _flush()
    except (OSError, ValueError):
        return
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        _flush()
    os._exit(code or 0)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
