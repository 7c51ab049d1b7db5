"""A catalog of 40 models and 25 datasets in a real `airflow dag-processor`, with the settings that we ship.

    python benchmarks/thousand_dags.py [--database sqlite|postgresql] [--models 40] [--datasets 25]

Reads every DAG file twice, by two dag-processors one after the other: into an empty database, and into the full one, as
every later cycle does; before that once a catalog of a single pair, which is what starting Airflow costs. Fails if a
DAG is missing, a file has an import error, or a reader was killed. CPU seconds are those of the dag-processor and all
its children, its start included; memory is the largest sum over all of them, each shared page counted once (PSS). Then
what a worker pays for building one of those DAGs before its task, net of Airflow's own imports.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.many_dags import Cycle, cycle, migrated, missing, stored, write_catalog
from tests.services import postgresql

WORKER = """
import sys, time
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
import airflow.sdk.execution_time.task_runner
path, dag_id = sys.argv[1:]
began = time.process_time()
with _airflow_parsing_context_manager(dag_id=dag_id, task_id="plan"):
    bag = BundleDagBag(
        path, safe_mode=False, load_op_links=False, bundle_path=Path(path).parent, bundle_name="dags-folder"
    )
seconds = time.process_time() - began
assert list(bag.dags) == [dag_id], (list(bag.dags), bag.import_errors)
print(seconds)
"""


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
        write_catalog(folder / "small", 1, 1)
        show("1 DAG", cycle(migrated(folder / "alone", folder / "small", None), folder / "log"))
        wanted = write_catalog(folder / "catalog", arguments.models, arguments.datasets)
        settings = migrated(folder / "airflow", folder / "catalog", database)
        for what in ("empty database", "full database"):
            cost = cycle(settings, folder / "log")
            if lost := missing(settings, wanted):
                sys.exit(f"{len(lost)} DAGs are missing: {', '.join(sorted(lost)[:3])}, …")
            show(f"{len(wanted)} DAGs, {arguments.database}, {what}", cost)
        seconds = [worker_seconds(settings, dag_id) for dag_id in sorted(wanted)[:: max(1, len(wanted) // 3)]]
        print(f"a worker's building of one DAG: {', '.join(f'{s:.2f}' for s in seconds)} CPU s")


def show(what: str, cost: Cycle) -> None:
    print(f"{what}: {cost.cpu_seconds:.1f} CPU s, {cost.wall_seconds:.1f} s, peak {cost.peak_mib:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
