"""The images that nodes can pull: each one is this machine's own tree, with an environment of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.conftest import CHECKOUT

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """What an image says of itself. `user` 0 is root, as in most images."""

    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int = 0
    pull_seconds: float = 0.0


@dataclass(frozen=True)
class PullError:
    """Why an image does not come. `until`: by time.monotonic(), when the registry is well again."""

    message: str
    until: float


class Images:
    """`known`: by name, in which `*` stands for anything; the first that fits counts."""

    def __init__(self, known: Mapping[str, Image], environment: Mapping[str, str]) -> None:
        self._known = known
        self._environment = {"PATH": f"{Path(sys.executable).parent}:{PATH}", **environment}
        self._refused: dict[str, PullError] = {}

    def refuse(self, pattern: str, message: str = "not found", seconds: float = float("inf")) -> None:
        """From now on, for so long, these images cannot be pulled. KPO goes by the message whether it waits."""
        self._refused[pattern] = PullError(message, time.monotonic() + seconds)

    def allow(self, pattern: str) -> None:
        """Takes a refusal back."""
        del self._refused[pattern]

    def find(self, name: str) -> Image | str:
        """The image, or why it cannot be pulled."""
        for pattern, error in self._refused.items():
            if fnmatch(name, pattern) and time.monotonic() < error.until:
                return f'failed to pull and unpack image "{name}": {error.message}'
        found = next((image for pattern, image in self._known.items() if fnmatch(name, pattern)), None)
        return found or f'failed to pull and unpack image "{name}": not found'

    def environment(self, image: Image) -> dict[str, str]:
        return {**self._environment, **image.environment}


def image_folders() -> tuple[str, ...]:
    """Folders of this machine that belong to every image: the interpreter, its packages and the checkout."""
    named = (sys.base_prefix, sys.prefix, str(CHECKOUT))
    return tuple(sorted({*named, *map(os.path.realpath, named)}))  # a folder comes before what lies in it
