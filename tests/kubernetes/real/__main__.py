"""`python -m tests.kubernetes.real`: the one-node cluster by itself, to look around in, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from llm_eval.airflow.up import unwind_on_signals
from tests.kubernetes.real.daemons import DaemonFailed
from tests.kubernetes.real.images import INFERENCE_IMAGE, NoImage, inference_image
from tests.kubernetes.real.one_node import one_node_cluster
from tests.kubernetes.real.programs import Programs

GPUS = 2


def main() -> int:
    unwind_on_signals()
    programs = Programs.from_environment(os.environ)
    if reason := programs.why_no_node():
        return _fail(reason)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="llm-eval-up-") as name:
        folder = Path(name)
        try:
            with one_node_cluster(programs, [inference_image(programs, folder)], GPUS) as access:
                kubeconfig = folder / "kubeconfig"
                kubeconfig.touch(mode=0o600)
                kubeconfig.write_text(access.kubeconfig())
                _tell(
                    f"ready after {time.monotonic() - began:.0f} s, with {GPUS} GPUs that are there by word alone. "
                    "Ctrl-C ends it.\n"
                    f"export KUBECONFIG={kubeconfig}\n"
                    f"export LLM_EVAL_TEST_IMAGE={INFERENCE_IMAGE} LLM_EVAL_TEST_ROOT=/var/tmp\n"
                    f"{programs.program('kubectl')} get pods --all-namespaces"
                )
                signal.pause()
        except KeyboardInterrupt:
            return 0
        except (DaemonFailed, NoImage) as error:
            return _fail(str(error))
    return 0


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(reason: str) -> int:
    sys.stderr.write(f"error: {reason}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
