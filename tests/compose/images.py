"""Images for a machine that can fetch none: a base made by debootstrap, wheels made here, stand-ins for other people's.

The base and the wheels are kept, in var/containers and include/images/wheels: they are half of the work.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.compose.engine import Engine, NoEngine, said
from tests.compose.files import CHECKOUT

BASE = "localhost/llm-eval-test-python"
STANDINS = Path(__file__).parent / "standins"
KEPT = CHECKOUT / "var" / "containers"
WHEELS = CHECKOUT / "include" / "images" / "wheels"
DEBIAN_PACKAGES = "python3,python3-venv,ca-certificates"


def import_base(engine: Engine) -> None:
    """Debian with its Python, for every image of the test to stand on; not again where the daemon has it."""
    if engine.has_image(BASE):  # imported anew it would be another one, and every layer above it too
        return
    tar = KEPT / "base.tar"
    if not tar.exists():
        if shutil.which("debootstrap") is None:
            raise NoEngine("debootstrap is not here; on Debian: apt-get install debootstrap")
        root, unfinished = KEPT / "base", KEPT / "base.unfinished"
        KEPT.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        # It mounts /proc into the folder: in a name space of its own, so that nothing of that is left if it is stopped.
        making = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}"]
        said([*making, "bookworm", str(root)], os.environ)
        shutil.rmtree(root / "var" / "cache" / "apt" / "archives")
        said(["tar", "--directory", str(root), "--create", "--file", str(unfinished), "."], os.environ)
        shutil.rmtree(root)
        unfinished.rename(tar)
    engine.run("import", str(tar), BASE)


def make_wheels() -> None:
    """Everything that our images install, in include/images/wheels: builds ask no index then."""
    said(["sh", str(CHECKOUT / "include" / "images" / "wheels.sh"), sys.executable], os.environ)


def build_standins(engine: Engine, folder: Path) -> None:
    """PostgreSQL, Redis and an S3 server; `folder` is used for what they are built from."""
    shutil.copytree(STANDINS, folder)
    locks = [word for lock in ("requirements.txt", "requirements-dev.txt") for word in ("-c", str(CHECKOUT / lock))]
    wanted = ["--wheel-dir", str(folder / "wheels"), "--find-links", str(WHEELS), *locks, "moto[server]"]
    said([sys.executable, "-m", "pip", "wheel", "--quiet", *wanted], os.environ)
    for name in ("postgres", "redis", "object-store"):
        target = ["--target", name, "--tag", f"localhost/llm-eval-test-{name}"]
        engine.run("build", "--network", "host", *target, "--build-arg", f"PYTHON_IMAGE={BASE}", str(folder))
