"""How many processes share a server's limits: all shards of all runs under one root, on whatever machines they are.

Each says every few seconds that it is there, in a small file of its own that holds a number which grows. Who has not
been heard of for a while counts no more: it was killed, or has ended. No clock is compared with another machine's.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

from llm_eval import layout, storage
from llm_eval.backends.openai.endpoints import server_of
from llm_eval.errors import StorageError
from llm_eval.fingerprint import fingerprint
from llm_eval.specs import OpenAIBackend

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
SILENT_BEATS = 4  # missed ones in a row: gone


def crowd_folder(root: str, spec: OpenAIBackend) -> str:
    """Of all who ask the same addresses for the same model with the same keys."""
    return layout.join(root, "asking", fingerprint(server_of(spec), spec.model, sorted(spec.keys), spec.connection))


class Crowd:
    """`size` is how many there are, this process included. `at_first`: how many are taken to be there before all that
    start together can have seen each other."""

    def __init__(self, folder: str, at_first: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._own = layout.join(folder, f"{uuid.uuid4().hex}.json")
        self._beats = 0
        self._heard: dict[str, tuple[str, float]] = {}  # by file: what it said last, and when that was new
        self.size = at_first
        self._closed = threading.Event()
        self.beat()
        self.size = max(self.size, at_first)
        self._thread = threading.Thread(target=self._beat_on, name="crowd", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        try:
            storage.delete(self._own)
        except StorageError as error:
            logger.warning("%s The others will miss this process soon.", error)

    def beat(self) -> None:
        """Say that one is there, and count who else says so."""
        self._beats += 1
        try:
            storage.write_json(self._own, self._beats)
            said = storage.states(self._folder, ".json")
        except StorageError as error:  # the root is away: as many as before
            logger.debug("%s", error)
            return
        now = self._clock()
        self._heard = {
            file: self._heard[file] if file in self._heard and self._heard[file][0] == words else (words, now)
            for file, words in said.items()
        }
        gone = [file for file, (_, at) in self._heard.items() if now - at > SILENT_BEATS * BEAT_SECONDS]
        self.size = max(1, len(self._heard) - len(gone))
        for file in gone:
            with suppress(StorageError):
                storage.delete(file)  # one that lives after all writes it again

    def _beat_on(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            self.beat()
