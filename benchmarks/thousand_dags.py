"""A catalog of 40 models and 25 datasets in a real `airflow dag-processor`, with the settings that we ship.

    python benchmarks/thousand_dags.py [--database sqlite|postgresql] [--models 40] [--datasets 25]

Reads every DAG file twice, by two dag-processors one after the other: into an empty database, and into the full one, as
every later cycle does. Fails if a DAG is missing, a file has an import error, or a parse was killed. CPU seconds are
those of the dag-processor and all its children, Airflow's own start included; memory is the largest sum over all of
them, each shared page counted once (PSS). Then what a worker pays for building one of those DAGs before its task.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llm_eval.airflow.stack import SEARCH_PATHS, airflow_settings, free_port
from tests.services import postgresql

SUITES = 4  # the models are shared out among them
CHECKPOINTED = 4  # every fourth model has checkpoints
TROUBLE = re.compile(r"Killing it|exceeding the timeout|Traceback|\[error|ERROR|database is locked")
WORKER = """
import sys, time
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
import airflow.sdk.execution_time.task_runner
path, dag_id = sys.argv[1:]
began = time.process_time()
with _airflow_parsing_context_manager(dag_id=dag_id, task_id="plan"):
    bag = BundleDagBag(path, safe_mode=False, load_op_links=False, bundle_path=Path(path).parent, bundle_name="dags-folder")
seconds = time.process_time() - began
assert list(bag.dags) == [dag_id], (list(bag.dags), bag.import_errors)
print(seconds)
"""


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


def environment(home: Path, catalog: Path, database: str | None) -> dict[str, str]:
    """What a stack of ours gives its dag-processor, but for another database."""
    shipped = airflow_settings(home, free_port(None))
    if database is not None:
        shipped["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = database
    paths = {
        name: os.pathsep.join([*map(str, first), os.environ.get(name, "")]) for name, first in SEARCH_PATHS.items()
    }
    return {**os.environ, **shipped, **paths, "LLM_EVAL_CATALOG": str(catalog), "LLM_EVAL_ROOT": str(home / "root")}


def cycle(settings: Mapping[str, str], log: Path) -> Cycle:
    """One dag-processor that reads every file once."""
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


def stored(settings: Mapping[str, str], query: str) -> set[str]:
    """The first column of a query to Airflow's database."""
    from sqlalchemy import create_engine, text

    with create_engine(settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).connect() as connection:
        return {row[0] for row in connection.execute(text(query))}


def worker_seconds(settings: Mapping[str, str], dag_id: str) -> float:
    """CPU seconds that building one DAG takes in a process that has imported what Airflow itself needs for a task."""
    (fileloc,) = stored(settings, f"select fileloc from dag where dag_id = '{dag_id}'")
    command = [sys.executable, "-c", WORKER, fileloc, dag_id]
    printed = subprocess.run(command, env=dict(settings), check=True, capture_output=True, text=True).stdout
    return float(printed.splitlines()[-1])


@contextmanager
def databases(kind: str) -> Iterator[str | None]:
    with postgresql() if kind == "postgresql" else nullcontext() as address:
        yield address


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--datasets", type=int, default=25)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, databases(arguments.database) as database:
        folder = Path(name)
        wanted = write_catalog(folder / "catalog", arguments.models, arguments.datasets)
        settings = environment(folder / "airflow", folder / "catalog", database)
        subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], env=settings, check=True, capture_output=True
        )
        for what in ("empty database", "full database"):
            cost = cycle(settings, folder / "log")
            missing = wanted - stored(settings, "select dag_id from serialized_dag")
            missing |= wanted - stored(settings, "select dag_id from dag where not is_stale")
            if missing or (errors := stored(settings, "select stacktrace from import_error")):
                sys.exit(f"{len(missing)} DAGs are missing, {sorted(missing)[:3]}; import errors: {errors}")
            print(f"{len(wanted)} DAGs, {arguments.database}, {what}: {cost.cpu_seconds:.1f} CPU s, ", end="")
            print(f"{cost.wall_seconds:.1f} s, peak {cost.peak_mib:.0f} MiB", flush=True)
        seconds = [worker_seconds(settings, dag_id) for dag_id in sorted(wanted)[:: max(1, len(wanted) // 3)]]
        print(f"a worker's parse of one DAG: {', '.join(f'{s:.2f}' for s in seconds)} CPU s")


if __name__ == "__main__":
    main()
