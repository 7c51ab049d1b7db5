"""A generated catalog of many pairs, and a real `airflow dag-processor`, with the settings that we ship, over it."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from llm_eval.airflow.environment import SEARCH_PATHS, Ports, airflow_settings
from llm_eval.airflow.stack import free_port

SUITES = 4  # the models are shared out among them
CHECKPOINTED = 4  # every fourth model has checkpoints
TROUBLE = re.compile(r"Killing it|exceeding the timeout|Traceback|\[error|ERROR|database is locked")


class Cycle(NamedTuple):
    cpu_seconds: float
    wall_seconds: float
    peak_mib: float


def write_catalog(folder: Path, models: int, datasets: int) -> set[str]:
    """A catalog of `models` x `datasets` pairs below `folder`; returns the ids of their DAGs."""
    names = [f"model-{m:02}" for m in range(models)], [f"dataset-{d:02}" for d in range(datasets)]
    for number, name in enumerate(names[0]):
        weights: dict[str, Any] = {"kind": "transformers", "path": f"weights/{name}", "dtype": "bfloat16"}
        model = {"description": "One of many", "backend": weights, "chat": True, "context_tokens": 4096}
        if number % CHECKPOINTED == 0:
            model["checkpoints"] = {"kind": "folders", "path": f"weights/{name}", "pattern": "step-*"}
        _write(folder / "models", name, model | {"resources": {"gpus": 1, "shards": 4}})
    for name in names[1]:
        _write(folder / "datasets", name, dataset(name))
    for number in range(SUITES):
        own = names[0][number::SUITES]
        if own:
            suite = {"schedule": f"{number} 2 * * *", "models": own, "datasets": names[1]}
            _write(folder / "suites", f"suite-{number}", suite)
    return {f"eval__{model}__{dataset}" for model, dataset in product(*names)}


def dataset(name: str) -> dict[str, Any]:
    return {
        "sources": [{"kind": "files", "path": f"{name}/test.jsonl", "few_shot_path": f"{name}/train.jsonl"}],
        "fields": {"input": "{{ question }}", "targets": "{{ answer }}"},
        "prompt": {"kind": "generate", "template": "Question: {{ input }}\nAnswer:", "few_shot": {"count": 4}},
        "extract": ["whole_text"],
        "metrics": ["exact_match"],
        "expectations": ["unique_ids", "no_blank_inputs"],
    }


def _write(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **values}, sort_keys=False))


def migrated(home: Path, catalog: Path, database: str | None) -> dict[str, str]:
    """The environment that a stack of ours gives its dag-processor, its database made; `database`: None for SQLite."""
    shipped = airflow_settings(home, Ports(free_port(None), free_port(None)))
    if database is not None:
        shipped["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = database
    paths = {
        name: os.pathsep.join([*map(str, first), os.environ.get(name, "")]) for name, first in SEARCH_PATHS.items()
    }
    place = {"LLM_EVAL_CATALOG": str(catalog), "LLM_EVAL_ROOT": str(home / "root")}
    settings = {**os.environ, **shipped, **paths, **place}
    home.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=settings, check=True, capture_output=True)
    return settings


def cycle(settings: Mapping[str, str], log: Path) -> Cycle:
    """One dag-processor that reads every file once. Raises RuntimeError if it says anything of trouble."""
    command = [sys.executable, "-m", "airflow", "dag-processor", "--num-runs", "1"]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=dict(settings), stdout=output, stderr=output)
        peak = Peak(process.pid)
        code = process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    text = log.read_text(errors="replace")
    if code != 0 or (trouble := TROUBLE.search(text)):
        sys.exit(
            f"the dag-processor ended with {code}: {text[-3000:] if code else text[trouble.start() - 500 :][:3000]}"
        )
    return Cycle(cpu, time.monotonic() - began, peak.mib())


class Peak:
    """The most memory that a process and all below it held together, looked at four times a second."""

    def __init__(self, pid: int) -> None:
        self._bytes = 0
        self._thread = threading.Thread(target=self._watch, args=(psutil.Process(pid),))
        self._thread.start()

    def _watch(self, process: psutil.Process) -> None:
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            held = 0
            for one in (process, *process.children(recursive=True)):
                try:
                    held += one.memory_full_info().pss
                except psutil.Error:
                    continue
            self._bytes = max(self._bytes, held)
            time.sleep(0.25)

    def mib(self) -> float:
        self._thread.join()
        return self._bytes / 2**20


def missing(settings: Mapping[str, str], wanted: set[str]) -> set[str]:
    """Those of the DAGs that Airflow could not run now. Raises RuntimeError for any file's import error."""
    if errors := stored(settings, "select stacktrace from import_error"):
        raise RuntimeError("\n".join(errors))
    there = stored(settings, "select dag_id from serialized_dag")
    return wanted - (there & stored(settings, "select dag_id from dag where not is_stale"))


def stored(settings: Mapping[str, str], query: str) -> set[str]:
    """The first column of a query to Airflow's database."""
    from sqlalchemy import create_engine, text

    with create_engine(settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).connect() as connection:
        return {row[0] for row in connection.execute(text(query))}
