"""SIGTERM and Ctrl-C end a command within seconds, and what it holds is saved first.

Python runs a signal's handler between two bytecodes of the main thread: not during a forward pass, not while weights
are read or a library is loaded, and a library may swallow what the handler raises. So a thread listens too. It saves at
once, gives the main thread a moment to unwind, and then ends the process. Only native code that keeps the interpreter's
lock can keep it waiting, or storage that does not answer.

While that thread listens, SIGTERM raises nothing in the main thread: an exception in the midst of a library that is
being loaded may cross native code that cannot pass it on, which aborts the process with what it held.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llm_eval.errors import LlmEvalError

logger = logging.getLogger(__name__)

# Who asks a command to end waits longer (child.py), and Airflow, who asked that one, longer still.
GRACE_SECONDS = 2.0
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it
_listeners: list[threading.Thread] = []


def take_charge() -> None:
    """For a command that owns its process: SIGTERM unwinds the main thread, and `saved` listens."""
    signal.signal(signal.SIGTERM, _unwind)


def _unwind(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the saving
    if not _listeners:
        raise SystemExit(128 + number)


@contextmanager
def saved(save: Callable[[], None]) -> Iterator[None]:
    """While this is open, SIGTERM and Ctrl-C call `save` in another thread; then the process ends, with 143 or 130.

    Nothing happens in a process that has not taken charge of its signals, such as Airflow's.
    """
    if signal.getsignal(signal.SIGTERM) is not _unwind:
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    unwound = threading.Event()
    listener = threading.Thread(target=_listen, args=(reading, save, unwound), name="signals", daemon=True)
    before = signal.set_wakeup_fd(writing)
    listener.start()
    _listeners.append(listener)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        unwound.set()
        listener.join()  # it may be saving what the main thread was interrupted in
        _listeners.remove(listener)


def _listen(reading: int, save: Callable[[], None], unwound: threading.Event) -> None:
    """Each byte is a signal's number; there are no more when the block ends."""
    with open(reading, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                return _end(128 + number[0], save, unwound)


def _end(exit_code: int, save: Callable[[], None], unwound: threading.Event) -> None:
    """SIGTERM ends the process once all is saved; Ctrl-C, which the main thread hears of, if that does not unwind."""
    grace = 0.0 if exit_code == 128 + signal.SIGTERM else GRACE_SECONDS
    deadline = time.monotonic() + grace
    try:
        save()
    except LlmEvalError as error:
        logger.error("%s", error)
    finally:
        if not grace or not unwound.wait(deadline - time.monotonic()):
            if sys.stderr.isatty():
                sys.stderr.write(_SHOW_CURSOR)
            os._exit(exit_code)
