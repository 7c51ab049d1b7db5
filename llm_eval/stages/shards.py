"""infer for a whole run on this machine: a process for each GPU, side by side, or all in this process.

Several GPUs: each shard is a child that takes a free GPU, and further shards wait for the next free one. Otherwise one
process answers everything, whatever the number of shards: on a CPU its threads use all cores already, and every further
shard would load the weights again and find fewer prefixes to share.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from llm_eval import signals
from llm_eval.child import Child, Ending, child_environment, end_all, stage_arguments, stage_command
from llm_eval.errors import InputError, RunFailed
from llm_eval.layout import Layout, Shard
from llm_eval.settings import Settings
from llm_eval.specs import ModelSpec, RunSpec
from llm_eval.stages import run_stage

logger = logging.getLogger(__name__)

NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")


class Running(NamedTuple):
    shard: Shard
    child: Child


def infer(run: RunSpec, settings: Settings, workers: int | None = None) -> None:
    """Answer all of a run's requests. `workers`: processes at a time; None: as many as the model can use here.

    Raises as `run_stage` does; of several processes, what the first one that failed said. The others then end, and
    keep what they have answered.
    """
    address = Layout(settings.root, run).run_uri
    at_once = min(run.shards, usable_gpus(run.model, os.environ) if workers is None else workers)
    if at_once < 2:
        run_stage("infer", address, settings)
        return
    logger.info("infer: %d shards, %d at a time, each in a process of its own", run.shards, at_once)
    _side_by_side(address, deque(Shard(index, run.shards) for index in range(run.shards)), settings, at_once)


def _side_by_side(address: str, waiting: deque[Shard], settings: Settings, at_once: int) -> None:
    running: dict[Future[Ending], Running] = {}

    def end_running() -> None:
        end_all([each.child for each in list(running.values())])

    environment = child_environment(os.environ, settings)
    # The children are started by this thread, which outlives them all: each is killed when its starter ends.
    with signals.saved(end_running), ThreadPoolExecutor(at_once) as followers:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    shard = waiting.popleft()
                    child = Child(stage_command(os.environ, stage_arguments("infer", address, str(shard))), environment)
                    running[followers.submit(child.follow, f"{shard} ")] = Running(shard, child)
                _take_ended(running)
        finally:
            end_running()


def _take_ended(running: dict[Future[Ending], Running]) -> None:
    ended, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in ended:
        shard, ending = running.pop(future).shard, future.result()
        if ending.exit_code != 0:
            failed = InputError if ending.exit_code == InputError.exit_code else RunFailed
            raise failed(f"shard {shard}: {ending.reason}")


def usable_gpus(model: ModelSpec, environment: Mapping[str, str]) -> int:
    """GPUs that processes of this model can have one each of; 0 where one process is enough."""
    spec = model.backend
    if spec.kind != "transformers" or spec.device != "auto" or spec.device_map is not None:
        return 0
    return len(visible_gpus(environment))


def visible_gpus(environment: Mapping[str, str], driver: Path = NVIDIA_DRIVER) -> Collection[str]:
    """What CUDA would find, without asking it: importing torch takes seconds and its context takes a GPU's memory."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        named = [name.strip() for name in chosen.split(",")]
        # CUDA reads up to the first name that is none; -1 is used to hide the rest.
        return named[: next((i for i, name in enumerate(named) if name in ("", "-1")), len(named))]
    if driver.is_dir():
        return [gpu.name for gpu in driver.iterdir()]
    try:  # no such folder under Windows' Linux
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in listed.splitlines() if line.startswith("GPU ")]
