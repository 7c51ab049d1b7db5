"""The engine against lm-evaluation-harness, model loaded, one thread: CPU seconds of the call that answers.

    .venv/bin/python benchmarks/engine/compare.py --job letters --model tiny --rounds 3

Every run is a process of its own, in turns: load the model, answer two short prompts that are not counted, then answer
the job with the clock on. lm-evaluation-harness (HFLM.loglikelihood or HFLM.generate_until, batch 8) gets its prompts
ready made; ours (TransformersModel.answer) puts them together and encodes them within its time. Both see the same
prompts, made here from a seed, and the same random weights. The peak is that of the whole process, loading included.

The first call installs the harness below --work and makes the model; that takes minutes and the network.
Exit code 1 if the two do not agree: float32 must pick the same choices, log-likelihoods within 1e-4, and write the same
texts; of bfloat16 differences are counted only, for rounding differs with every order of summation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from typing import Any

import agreement
import jobs
import yaml
from rounds import OURS, Cost, alternate, measure, table
from workplace import HERE, Workplace, add_options, lm_eval

PEER = "lm-eval"
DTYPES = {"tiny": "float32", "small": "bfloat16"}


def main() -> None:
    arguments = _arguments()
    place = Workplace(arguments.work.resolve())
    peer_python = place.install(lm_eval()) / "python"
    dtype = arguments.dtype or DTYPES[arguments.model]
    model = place.model(arguments.model, dtype)
    folder = place.fresh(f"compare-{arguments.job}-{arguments.model}-{dtype}")
    asks = _asks(arguments)
    job = jobs.as_file(asks) | {
        "warm_up": jobs.as_file(jobs.warm_up(generates=not asks[0].continuations))["asks"],
        "model": str(model),
        "dtype": dtype,
        "batch": arguments.batch,
        "backend": dict(_setting(s) for s in arguments.backend),
    }
    (folder / "job.json").write_text(json.dumps(job))
    answers: dict[str, dict[str, Any]] = {}
    path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))  # for cpu.py
    environment = place.environment(arguments.threads) | {"PYTHONPATH": path}

    def run(name: str, python: str, script: str) -> Cost:
        written = folder / f"{name}.json"
        command = [python, str(HERE / script), str(folder / "job.json"), str(written)]
        whole = measure(command, environment)
        answers[name] = json.loads(written.read_text())
        return Cost(*answers[name]["cost"])._replace(peak_mib=whole.peak_mib)

    sides = {
        OURS: lambda: run(OURS, sys.executable, "side_ours.py"),
        PEER: lambda: run(PEER, str(peer_python), "side_lm_eval.py"),
    }
    costs = alternate(sides, arguments.rounds)
    print(f"{arguments.job}: {jobs.JOBS[arguments.job].what}")
    _tell_size(arguments, dtype, answers[OURS])
    print(*table(costs), sep="\n")
    found = _agreement(answers[OURS]["answers"], answers[PEER]["answers"])
    print(*found.lines, sep="\n")
    if dtype == "float32" and not found.exact:
        raise SystemExit("the two sides do not agree: the figures compare different work")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "; ".join(f"{name}: {job.what}" for name, job in jobs.JOBS.items())
    parser.add_argument("--job", choices=jobs.JOBS, default="letters", help=names)
    parser.add_argument("--model", choices=DTYPES, default="tiny", help="8.6 million parameters, or 88")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="default: tiny float32, small bfloat16")
    parser.add_argument("--subjects", type=int, help="job letters: 1 to 8, each with examples of its own (default: 2)")
    parser.add_argument(
        "--questions", type=int, help="of each subject or form (default: 24; 32 where text is generated)"
    )
    parser.add_argument("--shots", type=int, help="worked examples before each question (default: 5, cloze 10)")
    parser.add_argument("--batch", type=int, default=8, help="the harness's batch size (default: 8)")
    parser.add_argument(
        "--backend", action="append", default=[], metavar="KEY=VALUE",
        help="a setting of our transformers backend, such as batch_tokens=4096; may be given several times",
    )  # fmt: skip
    add_options(parser)
    return parser.parse_args()


def _asks(arguments: argparse.Namespace) -> list[jobs.Ask]:
    job = jobs.JOBS[arguments.job]
    said = {name: getattr(arguments, name) for name in jobs.Size._fields}
    return job.asks(job.size._replace(**{name: value for name, value in said.items() if value is not None}))


def _setting(assignment: str) -> tuple[str, Any]:
    key, equals, value = assignment.partition("=")
    if not equals:
        raise SystemExit(f"--backend {assignment!r} is not of the form KEY=VALUE")
    return key, yaml.safe_load(value)


def _tell_size(arguments: argparse.Namespace, dtype: str, ours: dict[str, Any]) -> None:
    tokens = ours["prompt_tokens"]
    read, reused = ours["tokens"]["prefill_tokens"], ours["tokens"]["reused_tokens"]
    print(
        f"{len(tokens)} questions, {min(tokens)} / {statistics.median(tokens):.0f} / {max(tokens)} prompt tokens; "
        f"model {arguments.model} {dtype}, {arguments.threads} thread(s), harness at batch {arguments.batch}; "
        f"ours read {read} tokens and saved {reused}"
    )


def _agreement(ours: list[Any], theirs: list[Any]) -> agreement.Agreement:
    if isinstance(ours[0], str):
        return agreement.of_texts(ours, theirs)
    return agreement.of_choices(ours, theirs)


if __name__ == "__main__":
    main()
