"""Asks a real API server about each oddity. `python -m tests.kubernetes.manifests.refusals` writes down its answers."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.kubernetes.manifests.objects import FOLDER
from tests.kubernetes.manifests.oddities import RECORD, oddities
from tests.kubernetes.manifests.pods import good
from tests.kubernetes.real.control_plane import Access, dry_run
from tests.kubernetes.real.one_node import control_plane
from tests.kubernetes.real.programs import Programs

NAMESPACE = "llm-eval"
ADMITTED_SECONDS = 30.0


def refused() -> set[tuple[str, str]]:
    """(path, odd) of all that the server would not take; our own objects are created on it before."""
    programs = Programs.from_environment(os.environ)
    with control_plane(programs) as access, TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.write_text(access.kubeconfig())
        for name in ("namespace", "rbac"):
            command = [
                programs.program("kubectl"),
                "--kubeconfig",
                str(kubeconfig),
                "apply",
                "-f",
                f"{FOLDER}/{name}.yaml",
            ]
            subprocess.run(command, check=True, capture_output=True, env=programs.environment)
        _until_admitted(access)
        return {(each.path, each.odd) for each in oddities() if dry_run(access, each.pod, NAMESPACE) is not None}


def _until_admitted(access: Access) -> None:
    """The controller manager makes the tokens of service accounts, without which no pod is admitted."""
    deadline = time.monotonic() + ADMITTED_SECONDS
    while (refusal := dry_run(access, good(), NAMESPACE)) is not None:
        assert time.monotonic() < deadline, refusal
        time.sleep(0.2)


if __name__ == "__main__":
    answers: dict[str, list[str]] = {}
    found = refused()
    for oddity in oddities():
        if (oddity.path, oddity.odd) in found:
            answers.setdefault(oddity.path, []).append(oddity.odd)
    written = {path: " ".join(odds) for path, odds in answers.items()}
    RECORD.write_text(yaml.safe_dump(written, sort_keys=False, width=200))
