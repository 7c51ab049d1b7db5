"""Whole evaluations from outside: `llm-eval run` against the `lm_eval` command on the same questions, model and score.

    .venv/bin/python benchmarks/engine/whole.py --job mmlu --rounds 3

mmlu: 200 questions in MMLU's form, 4 subjects, 5 worked examples, log-likelihoods of the letters.
gsm8k: 64 generations in GSM8K's form, 5 worked examples, 64 new tokens.

The clock runs from the start of the process to its end: imports, loading, reading tasks and data, answering, scoring,
writing. llm-eval starts with an empty root, so that it does all stages: Great Expectations checks the samples as those
of a real benchmark, answers are kept in parts that a killed run would resume from, results are published as Parquet.
lm_eval runs at batch 8 and keeps its samples (--log_samples). One run of each side is not counted: it fills file caches
and lm_eval's own cache of parsed data files. Memory is the peak of the largest process.

Exit code 1 unless scores are equal and (the model is float32) all choices and texts, log-likelihoods within 1e-4.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import agreement
import exam_files
import our_run
from rounds import OURS, Cost, alternate, measure, table
from workplace import Workplace, add_options, lm_eval

PEER = "lm_eval"
WRITERS = {"mmlu": exam_files.write_mmlu, "gsm8k": exam_files.write_gsm8k}
METRICS = {"mmlu": "acc,none", "gsm8k": "exact_match,strict-match"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", choices=WRITERS, default="mmlu")
    parser.add_argument("--batch", type=int, default=8, help="the harness's batch size (default: 8)")
    parser.add_argument("--cold", action="store_true", help="leave out the run of each side that is not counted")
    add_options(parser)
    arguments = parser.parse_args()
    place = Workplace(arguments.work.resolve())
    harness = place.install(lm_eval()) / lm_eval().command
    model = place.model("tiny", "float32")
    name, dataset = f"whole-{arguments.job}", f"bench-{arguments.job}"
    folder = place.fresh(name)
    WRITERS[arguments.job](folder)
    exam_files.write_catalog(folder, dataset, model, chat=False)
    environment = place.environment(arguments.threads)

    def theirs() -> Cost:
        output = place.fresh(name, PEER)
        command = [str(harness), "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32"]
        command += ["--device", "cpu", "--batch_size", str(arguments.batch), "--include_path", str(folder / "tasks")]
        command += ["--tasks", f"bench_{arguments.job}", "--log_samples", "--output_path", str(output)]
        return measure(command, environment, folder)

    sides = {
        OURS: lambda: our_run.evaluate(place.fresh(name, OURS), folder / "catalog", dataset, environment),
        PEER: theirs,
    }
    costs = alternate(sides, arguments.rounds, warm_up=not arguments.cold)
    print(
        f"whole process, {arguments.job}, tiny float32, {arguments.threads} thread(s), harness batch {arguments.batch}"
    )
    print(*table(costs), sep="\n")
    _compare(arguments.job, folder)


def _compare(job: str, folder: Path) -> None:
    """Prints scores and agreement of the last runs. Raises SystemExit if they differ."""
    our_score = next(row["value"] for row in our_run.published(folder / OURS) if row["headline"])
    (results,) = (folder / PEER).rglob("results_*.json")
    their_score = json.loads(results.read_text())["results"][f"bench_{job}"][METRICS[job]]
    ours, theirs = our_run.answers(folder / OURS), dict(_their_answers(job, folder / PEER))
    if ours.keys() != theirs.keys():
        raise SystemExit(f"{OURS} answered {len(ours)} questions and {PEER} {len(theirs)}; they must be the same ones")
    agree = agreement.of_texts if job == "gsm8k" else agreement.of_choices
    found = agree(list(ours.values()), [theirs[key] for key in ours])
    print(*found.lines, sep="\n")
    print(f"score: {OURS} {our_score:.4f}, {PEER} {their_score:.4f}, of {len(ours)} questions")
    if not found.exact or abs(our_score - their_score) > 1e-9:
        raise SystemExit("the two sides do not agree: the figures compare different work")


def _their_answers(job: str, output: Path) -> Iterator[tuple[str, Any]]:
    """Question's id as llm-eval has it, and its text or the log-likelihoods of its choices."""
    for log in output.rglob(f"samples_bench_{job}*.jsonl"):
        subject = log.name.removeprefix("samples_bench_mmlu_").rpartition("_")[0]
        for line in log.read_text().splitlines():
            sample = json.loads(line)
            if job == "gsm8k":
                yield sample["doc"]["id"], sample["resps"][0][0]
            else:
                yield f"{subject}-{sample['doc']['id']}", [float(choice[0][0]) for choice in sample["resps"]]


if __name__ == "__main__":
    main()
