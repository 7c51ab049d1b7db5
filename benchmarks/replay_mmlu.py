"""Scoring all of MMLU's 14,042 replayed answers, fetch to publish, in one process: CPU seconds from outside.

    LLM_EVAL_DATASETS=… python benchmarks/replay_mmlu.py [-n 3] [mmlu_gen]

Every run has an empty root, so that nothing is found done.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import yaml
from cpu import measure, spreads

from llm_eval import sampling, sources
from llm_eval.catalog import Catalog
from llm_eval.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3)
    parser.add_argument("dataset", nargs="?", default="mmlu_gen")
    arguments = parser.parse_args()
    settings = Settings.from_environment(os.environ)
    dataset = Catalog(settings.catalogs).dataset(arguments.dataset)
    samples = sampling.to_samples(
        dataset, sources.read(dataset, sources.resolve(dataset, settings), settings).questions
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        answers = place / "answers.jsonl"
        answers.write_text("".join(json.dumps({"id": s.id, "text": s.targets[0]}) + "\n" for s in samples))
        (place / "catalog" / "models").mkdir(parents=True)
        model = {"name": "replayed", "chat": True, "backend": {"kind": "replay", "path": str(answers)}}
        (place / "catalog" / "models" / "replayed.yaml").write_text(yaml.safe_dump(model))
        runs = []
        for number in range(arguments.n):
            command = [sys.executable, "-m", "llm_eval", "-q", "--catalog", str(place / "catalog")]
            command += ["--root", str(place / f"root-{number}"), "run", "-m", "replayed", "-d", arguments.dataset]
            runs.append(measure(command))
    for line in spreads(runs):
        print(f"{len(samples)} answers, {line}")


if __name__ == "__main__":
    main()
