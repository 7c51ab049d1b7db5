"""One pair's DAG run with the scripted backend, from trigger to success, in a real Airflow on this machine.

    python benchmarks/dag_run.py [-n 5]

The first run also validates the samples; later ones find that done, as in a nightly schedule over fixed benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

import yaml
from rich.console import Console

from llm_eval.airflow.stack import Stack
from llm_eval.remote.watch import wait_for

DATASET = {
    "name": "numbers",
    "sources": [{"kind": "files", "path": "numbers.jsonl"}],
    "fields": {"input": "{{ question }}", "targets": "{{ answer }}"},
    "prompt": {"kind": "generate", "template": "{{ input }}"},
    "extract": ["whole_text"],
    "metrics": ["exact_match"],
}
SUITE = {"name": "bench", "models": ["scripted"], "datasets": ["numbers"]}
DAG_ID = "eval__scripted__numbers"


def write_catalog(folder: Path) -> None:
    for kind, spec in (("datasets", DATASET), ("suites", SUITE)):
        (folder / "catalog" / kind).mkdir(parents=True)
        (folder / "catalog" / kind / f"{spec['name']}.yaml").write_text(yaml.safe_dump(spec))
    rows = ({"question": f"Number {i}?", "answer": "A"} for i in range(200))
    (folder / "data").mkdir()
    (folder / "data" / "numbers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5, help="runs after the first one")
    arguments = parser.parse_args()
    console = Console(force_terminal=False, stderr=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_catalog(folder)
        os.environ.update(LLM_EVAL_CATALOG=str(folder / "catalog"), LLM_EVAL_ROOT=str(folder / "root"))
        with Stack(folder / "airflow", tell=console.print) as stack:
            stack.client.set_paused(DAG_ID, False)
            seconds = []
            for number in range(arguments.n + 1):
                # `force`: every stage does its work again, so that later runs are not faster for having nothing to do.
                conf = {"force": True} if number else {}
                (outcome,) = wait_for(stack.client, {DAG_ID: stack.client.trigger(DAG_ID, conf)}, console, 300)
                if outcome.reason is not None:
                    raise SystemExit(outcome.reason)
                seconds.append(outcome.seconds)
    later = seconds[1:]
    print(f"first run {seconds[0]:.1f} s; wall s of {len(later)} runs, every stage forced: ", end="")
    print(f"min {min(later):.1f}, median {statistics.median(later):.1f}, max {max(later):.1f}")


if __name__ == "__main__":
    main()
