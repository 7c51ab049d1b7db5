"""The images of the one-node cluster, from what is on this machine: nothing is pulled, and no docker is needed.

The inference image is Debian's Python, the libraries of include/images/inference.in as they stand in this interpreter's
environment, and this checkout's package. An image that `docker save` wrote does as well (LLM_EVAL_TEST_IMAGE_ARCHIVE).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llm_eval import settings
from tests.kubernetes.real.archive import Image, Layer, write_layer
from tests.kubernetes.real.engine import PAUSE_IMAGE
from tests.kubernetes.real.programs import Programs

INFERENCE_IMAGE = "localhost/llm-eval/inference:test"
REQUIREMENTS = settings.HOME / "include" / "images" / "inference.in"
PACKAGES = "usr/local/lib/python3.11/dist-packages"  # where Debian's Python looks for what Debian did not bring
PYTHON = (3, 11)
BASE_RECIPE = 1  # raise it when base-layer.sh changes
HERE = Path(__file__).parent


class NoImage(Exception):
    """The inference image cannot be made here; the message says why and what to do."""


def pause_image(programs: Programs, folder: Path) -> Image:
    """What holds a pod's namespaces: Debian's catatonit, which waits and buries processes."""
    layer = write_layer(folder / "pause-layer.tar", [(Path(programs.program("catatonit")), "catatonit")])
    return Image(PAUSE_IMAGE, [layer], {"Entrypoint": ["/catatonit", "-P"]})


def inference_image(programs: Programs, folder: Path) -> Image:
    """The image of the stages that run in pods. Base and libraries are kept in the cache. Raises NoImage."""
    if sys.version_info[:2] != PYTHON:
        raise NoImage(
            f"the image has Debian's Python {'.'.join(map(str, PYTHON))}, and the libraries here are those of "
            f"{sys.version.split()[0]}. Name an image of yours in LLM_EVAL_TEST_IMAGE_ARCHIVE."
        )
    cache = programs.folder / "images"
    cache.mkdir(exist_ok=True)
    layers = [_base(cache), _libraries(cache), write_layer(folder / "code.tar", _code())]
    # As ours: nobody's home, no name of the user needed.
    config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"], "User": "1000", "WorkingDir": "/tmp"}
    return Image(INFERENCE_IMAGE, layers, config)


def required(requirements: Path) -> Iterator[Requirement]:
    """What a file of requirements names, the files that it includes first."""
    for line in requirements.read_text().splitlines():
        text = line.partition(" #")[0].strip()
        if text.startswith("-r "):
            yield from required(requirements.parent / text.removeprefix("-r ").strip())
        elif text and not text.startswith(("#", "-")):
            yield Requirement(text)


def closure(wanted: Iterator[Requirement]) -> list[Distribution]:
    """The installed distributions that these need, with what those need in turn, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = list(wanted)
    while queue:
        requirement = queue.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError as error:
            raise NoImage(f"{name} is not installed here, and {REQUIREMENTS.name} needs it: `make setup`") from error
        for text in found[name].requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in (extras or {""})):
                queue.append(needed)
    return [found[name] for name in sorted(found)]


def _base(cache: Path) -> Layer:
    layer = Layer(cache / f"base-{BASE_RECIPE}.tar")
    if not layer.path.exists():
        subprocess.run([HERE / "base-layer.sh", layer.path], check=True)
    return layer


def _libraries(cache: Path) -> Layer:
    distributions = closure(required(REQUIREMENTS))
    versions = "\n".join(f"{found.name} {found.version}" for found in distributions)
    layer = Layer(cache / f"libraries-{hashlib.sha256(versions.encode()).hexdigest()[:16]}.tar")
    if layer.path.exists():
        return layer
    for older in cache.glob("libraries-*"):
        older.unlink()
    return write_layer(layer.path, (file for found in distributions for file in _files(found)))


def _files(found: Distribution) -> Iterator[tuple[Path, str]]:
    """Of one distribution, but for its scripts: those are for another interpreter."""
    for file in found.files or []:
        path = Path(str(file.locate()))
        if ".." not in file.parts and path.exists():
            yield path, f"{PACKAGES}/{file}"


def _code() -> Iterator[tuple[Path, str]]:
    for path in sorted(settings.HOME.glob("llm_eval/**/*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path, f"{PACKAGES}/{path.relative_to(settings.HOME)}"
