"""Whole evaluations against a slow server, ours and other harnesses' side by side: 200 ms a request, 64 in flight.

    python benchmarks/api_peers.py --peer lm-eval=PYTHON --peer inspect-ai=PYTHON [-n 3] [--requests 2000]

PYTHON is the interpreter of an environment that has the peer: `pip install 'lm-eval[api]==0.4.13'`, or
`pip install inspect-ai==0.3.285 openai`. Sides take turns on one server, every other round backwards, after 64 requests
of each that are not counted (they fill file caches and lm-eval's cache of parsed data files).

The clock runs from the start of the process to its end: imports, reading tasks and data, asking, scoring, writing.
Ours is `llm-eval run` on an empty root, all stages to the published results; lm-eval keeps its samples (--log_samples),
inspect-ai writes its log. Requests a second are the server's: first arrival to last answer. Memory is that of the
largest process.

Exit code 1 unless every side sent just the requests asked for, 64 at once, and scored them all as right.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.api import IN_FLIGHT, Run, asking, serving, write_catalog

OURS = "llm-eval"
COLUMNS = ("requests/s", "wall s", "cpu s", "peak MiB")
INSPECT_TASK = """\
from inspect_ai import Task, task
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.scorer import match
from inspect_ai.solver import generate


@task
def many():
    fields = FieldSpec(input="question", target="answer")
    return Task(dataset=json_dataset("data/many.jsonl", fields), solver=generate(), scorer=match("exact"))
"""


@dataclass(frozen=True, slots=True)
class Side:
    """`command` gives argv for (an empty folder for its files, number of requests); `score` reads 0 to 1 from there."""

    command: Callable[[Path, int], list[str]]
    score: Callable[[Path], float]

    def run(self, folder: Path, url: str, requests: int) -> Run:
        """Raises SystemExit unless all answers were scored as right: the server gives every question its target."""
        output = Path(tempfile.mkdtemp(dir=folder))
        run = asking(self.command(output, requests), url, requests, output / "printed.txt")
        if (score := self.score(output)) != 1.0:
            sys.exit(f"{requests} right answers were scored {score}: {' '.join(self.command(output, requests))}")
        shutil.rmtree(output)
        return run


def llm_eval(folder: Path) -> Side:
    def command(root: Path, requests: int) -> list[str]:
        place = ["--catalog", str(folder / "catalog"), "--root", str(root)]
        asked = ["run", "-m", "served", "-d", "many", "--limit", str(requests), "--format", "json"]
        return [sys.executable, "-m", "llm_eval", "-q", *place, *asked]

    def score(root: Path) -> float:
        rows = json.loads((root / "printed.txt").read_text())
        return next(float(row["value"]) for row in rows if row["headline"])

    return Side(command, score)


def lm_eval(python: str, folder: Path, url: str) -> Side:
    task = {
        "task": "many",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "data" / "many.jsonl")}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 16},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / "tasks").mkdir()
    (folder / "tasks" / "many.yaml").write_text(yaml.safe_dump(task))
    model = f"model=m,base_url={url}/v1/chat/completions,num_concurrent={IN_FLIGHT},max_retries=3"

    def command(output: Path, requests: int) -> list[str]:
        asked = ["--model", "local-chat-completions", "--model_args", f"{model},tokenized_requests=False"]
        asked += ["--apply_chat_template", "--include_path", str(folder / "tasks"), "--tasks", "many"]
        asked += ["--limit", str(requests), "--log_samples", "--output_path", str(output)]
        return [python, "-m", "lm_eval", "run", *asked]

    def score(output: Path) -> float:
        (results,) = output.rglob("results_*.json")
        return float(json.loads(results.read_text())["results"]["many"]["exact_match,none"])

    return Side(command, score)


def inspect_ai(python: str, folder: Path, url: str) -> Side:
    task = "inspect_task.py"
    (folder / task).write_text(INSPECT_TASK)

    def command(output: Path, requests: int) -> list[str]:
        asked = ["--model", "openai-api/slow/m", "--model-base-url", f"{url}/v1", "--max-connections", str(IN_FLIGHT)]
        asked += ["--max-tokens", "16", "--temperature", "0", "--limit", str(requests)]
        asked += ["--display", "none", "--log-dir", str(output)]
        return [python, "-m", "inspect_ai", "eval", task, *asked]

    def score(output: Path) -> float:
        (log,) = output.glob("*.eval")
        # The log is packed with zstandard, which this Python's zipfile does not know: inspect-ai itself unpacks it.
        reading = [python, "-m", "inspect_ai", "log", "dump", "--header-only", str(log)]
        header = json.loads(subprocess.run(reading, check=True, capture_output=True).stdout)
        return float(header["results"]["scores"][0]["metrics"]["accuracy"]["value"])

    return Side(command, score)


PEERS = {"lm-eval": lm_eval, "inspect-ai": inspect_ai}


def peer(text: str) -> tuple[str, str]:
    name, _, python = text.partition("=")
    found = shutil.which(python)
    if name not in PEERS or found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r}: NAME=PYTHON is wanted, NAME one of {', '.join(PEERS)}, "
            "PYTHON the interpreter of an environment that has it"
        )
    return name, os.path.abspath(found)  # not resolved: the link is what makes it that environment's


def table(rounds: Mapping[str, Sequence[Run]]) -> list[str]:
    """Min, median and max of each side's rounds; then each peer's figures divided by ours of the same round."""
    rows = {
        name: [(r.per_second, r.cost.wall_seconds, r.cost.cpu_seconds, r.cost.peak_mib) for r in runs]
        for name, runs in rounds.items()
    }
    lines = [f"{'min / median / max':24}" + "".join(f" {name:>22}" for name in COLUMNS)]
    lines += [_line(name, values, (0, 2, 2, 0)) for name, values in rows.items()]
    for name in (name for name in rows if name != OURS):
        pairs = zip(rows[name], rows[OURS], strict=True)
        ratios = [tuple(theirs / ours for theirs, ours in zip(*pair, strict=True)) for pair in pairs]
        lines.append(_line(f"{name} / {OURS}", ratios, (2, 2, 2, 2)))
    return lines


def _line(name: str, rounds: Sequence[Sequence[float]], digits: Sequence[int]) -> str:
    cells = []
    for values, places in zip(zip(*rounds, strict=True), digits, strict=True):
        spread = (min(values), statistics.median(values), max(values))
        cells.append(" / ".join(f"{value:.{places}f}" for value in spread))
    return f"{name:24}" + "".join(f" {cell:>22}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="counted rounds of each side")
    parser.add_argument("--requests", type=int, default=2000, help=f"of each side in each round, at least {IN_FLIGHT}")
    parser.add_argument("--peer", type=peer, action="append", required=True, metavar="NAME=PYTHON")
    arguments = parser.parse_args()
    if arguments.requests < IN_FLIGHT:
        parser.error(f"--requests {arguments.requests}: fewer than the {IN_FLIGHT} that are in flight at once")
    # inspect-ai takes the file of a task by no other name than one relative to the working directory.
    with tempfile.TemporaryDirectory() as name, serving() as url, contextlib.chdir(name):
        folder = Path(name)
        caches = {"HF_HOME": str(folder / "huggingface"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        os.environ.update(caches, OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
        os.environ.update(OPENAI_API_KEY="none", SLOW_API_KEY="none")  # both peers refuse to start without one
        write_catalog(folder, url, arguments.requests)
        sides = {OURS: llm_eval(folder)}
        sides |= {name: PEERS[name](python, folder, url) for name, python in dict(arguments.peer).items()}
        for side in sides.values():
            side.run(folder, url, IN_FLIGHT)
        rounds: dict[str, list[Run]] = {name: [] for name in sides}
        for number in range(arguments.n):
            for name in sides if number % 2 == 0 else reversed(sides):
                run = sides[name].run(folder, url, arguments.requests)
                rounds[name].append(run)
                shown = f"{run.per_second:.0f} requests/s, {run.cost.wall_seconds:.2f} s"
                print(f"  round {number + 1} of {arguments.n}: {name:12} {shown}", file=sys.stderr, flush=True)
    print(f"{arguments.requests} requests, {IN_FLIGHT} in flight, whole process")
    print(*table(rounds), sep="\n")


if __name__ == "__main__":
    main()
