"""What Airflow costs around an evaluation: scripted backend, so nothing is asked, in a real Airflow on this machine.

    python benchmarks/orchestration.py [--rounds 3] [--many 20,100] [--tasks]

One run of one DAG: with samples that nobody has validated yet, then with every stage forced (`force`), then as in a
nightly schedule. Then one run each of 20 and of 100 DAGs (five models for each dataset) at once, on new data. Wall
seconds are from the first request to the last run's end, CPU seconds those of all of Airflow's processes, those that
have ended included, less what the same processes take while they have nothing to do. Fails unless every run has
published and Airflow holds the asset events of each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llm_eval.airflow.stack import Stack
from llm_eval.remote.client import DagRun

SAMPLES = 200
MODELS = 5  # per dataset
IDLE_SECONDS = 20.0
POLL_SECONDS = 0.5
LIMIT_SECONDS = 1200.0


class Cost(NamedTuple):
    cpu_seconds: float
    wall_seconds: float


def write_catalog(folder: Path, groups: Sequence[tuple[str, int]]) -> dict[str, list[str]]:
    """Datasets and a suite for each group of so many pairs; returns the DAG ids by group."""
    models = [f"canned-{number}" for number in range(MODELS)]
    for number, name in enumerate(models):
        backend = {"kind": "scripted", "replies": ["A", "B", "C", "D"][: number % 4 + 1]}
        _write(folder / "catalog" / "models", name, {"backend": backend, "chat": False})
    dags = {}
    for group, pairs in groups:
        datasets = [f"{group}-{number}" for number in range(-(-pairs // MODELS))]
        for name in datasets:
            _write(folder / "catalog" / "datasets", name, _dataset(name))
            rows = ({"question": f"{name}, number {i}?", "answer": "A"} for i in range(SAMPLES))
            (folder / "data").mkdir(exist_ok=True)
            (folder / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked = models[: min(pairs, MODELS)]
        _write(folder / "catalog" / "suites", group, {"models": asked, "datasets": datasets})
        dags[group] = [f"eval__{model}__{name}" for name in datasets for model in asked]
    return dags


def _dataset(name: str) -> dict[str, Any]:
    return {
        "sources": [{"kind": "files", "path": f"{name}.jsonl"}],
        "fields": {"input": "{{ question }}", "targets": "{{ answer }}"},
        "prompt": {"kind": "generate", "template": "{{ input }}"},
        "extract": ["whole_text"],
        "metrics": ["exact_match"],
        "expectations": ["unique_ids", "no_blank_inputs"],
    }


def _write(folder: Path, name: str, values: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **values}))


def cpu_seconds(stack: Stack) -> float:
    """Of all processes of the stack and, through their parents, of those that have ended."""
    used = 0.0
    for component in stack._components:
        process = psutil.Process(component.process.pid)
        for one in (process, *process.children(recursive=True)):
            try:
                used += sum(one.cpu_times()[:4])  # user, system, and those of children waited for
            except psutil.Error:
                continue
    return used


def idle_rate(stack: Stack) -> float:
    """CPU seconds a second while nothing runs."""
    before = cpu_seconds(stack)
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(stack) - before) / IDLE_SECONDS


def run_all(stack: Stack, dag_ids: Sequence[str], conf: dict[str, Any], idle: float) -> tuple[Cost, list[DagRun]]:
    """One run of each DAG, all asked for at once, until the last one has ended; its cost net of idle."""
    before, began, wall_began = cpu_seconds(stack), time.time(), time.monotonic()
    run_ids = {dag_id: stack.client.trigger(dag_id, conf).run_id for dag_id in dag_ids}
    while True:
        runs = [run for run in stack.client.runs(dag_ids) if run_ids[run.dag_id] == run.run_id]
        if all(run.state in ("success", "failed") for run in runs) and len(runs) == len(dag_ids):
            break
        if time.monotonic() - wall_began > LIMIT_SECONDS:
            sys.exit(f"not all of {len(dag_ids)} runs have ended: {sorted({run.state for run in runs})}")
        time.sleep(POLL_SECONDS)
    if failed := [run for run in runs if run.state == "failed"]:
        sys.exit(f"{len(failed)} runs failed; {failed[0].dag_id}: {stack.client.why_failed(failed[0])}")
    ended = max(datetime.fromisoformat(str(run.ended_at)).timestamp() for run in runs)
    cpu = cpu_seconds(stack) - before - idle * (time.monotonic() - wall_began)
    return Cost(cpu, ended - began), runs


def show_tasks(stack: Stack, run: DagRun) -> None:
    """When each task of a run was queued, started and ended, in seconds since the run was."""
    address = f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}"
    zero = datetime.fromisoformat(run.queued_at)
    for task in stack.client.call("GET", f"{address}/taskInstances")["task_instances"]:
        moments = [task[name] for name in ("scheduled_when", "queued_when", "start_date", "end_date")]
        passed = [(datetime.fromisoformat(moment) - zero).total_seconds() for moment in moments]
        print(f"  {task['task_id']:10}", *(f"{seconds:6.2f}" for seconds in passed))


def published(stack: Stack) -> int:
    """How many results Airflow has been told of: each is an event of its pair and of its suite."""
    return int(stack.client.call("GET", "/api/v2/assets/events", limit=1)["total_entries"]) // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of one run alone, after the first; 0: none")
    parser.add_argument("--many", default="20,100", help="how many runs at once, with commas; empty: none")
    parser.add_argument("--tasks", action="store_true", help="show when each task of the runs alone began and ended")
    arguments = parser.parse_args()
    many = [int(number) for number in arguments.many.split(",") if number]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dags = write_catalog(folder, [("one", 1), *((f"at-once-{n}", n) for n in many)])
        os.environ.update(LLM_EVAL_CATALOG=str(folder / "catalog"), LLM_EVAL_ROOT=str(folder / "root"))
        with Stack(
            Path(os.environ.get("KEEP") or folder / "airflow"), tell=lambda line: print(line, file=sys.stderr)
        ) as stack:
            for dag_id in (dag_id for ids in dags.values() for dag_id in ids):
                stack.client.set_paused(dag_id, False)
            idle = idle_rate(stack)
            print(f"idle: {idle:.3f} CPU s a second", flush=True)
            alone = (("new samples", 1, {}), ("every stage forced", arguments.rounds, {"force": True}))
            for what, rounds, conf in (*alone, ("as every night", arguments.rounds, {})):
                done = [run_all(stack, dags["one"], conf, idle) for _ in range(rounds)]
                if done:
                    show(f"one, {what}", [cost for cost, _ in done])
                if done and arguments.tasks:
                    show_tasks(stack, done[-1][1][0])
            for number in many:
                show(f"{number} at once, new samples", [run_all(stack, dags[f"at-once-{number}"], {}, idle)[0]])
            runs = 1 + 2 * arguments.rounds + sum(many)
            if published(stack) != runs:
                sys.exit(f"{runs} runs, but {published(stack)} results were announced")


def show(what: str, costs: Sequence[Cost]) -> None:
    cpu, wall = (
        f"{min(each):.1f} / {statistics.median(each):.1f} / {max(each):.1f}" for each in zip(*costs, strict=True)
    )
    print(f"{what}: {cpu} CPU s, {wall} s", flush=True)


if __name__ == "__main__":
    main()
