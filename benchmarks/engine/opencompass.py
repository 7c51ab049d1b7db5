"""120 questions in C-Eval's form, whole process: `llm-eval run` against OpenCompass in debug and in default mode.

    .venv/bin/python benchmarks/engine/opencompass.py --rounds 3

6 subjects of 20 questions, 5 worked examples as turns of a chat, 16 new tokens, OpenCompass's own ceval_gen_5f30c7 at
batch 8. Debug mode answers and scores in one process; default mode starts a process for each task, which for scoring is
one a subject. llm-eval starts with an empty root and does all stages, checks of the samples included. The model is made
in OpenCompass's environment: its transformers is older than ours and cannot read a tokenizer that ours has saved.

Each side runs once uncounted before. Exit code 1 unless both modes wrote the same texts as llm-eval and gave every
subject the same score.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
from pathlib import Path
from typing import NamedTuple

import agreement
import exam_files
import our_run
from exams import CHINESE_SUBJECTS
from make_model import SPECIAL_TOKENS
from rounds import OURS, Cost, alternate, measure, table
from workplace import Workplace, add_options, opencompass

DATASET = "bench-ceval"
MODES = {"OpenCompass, debug": ("--debug",), "OpenCompass, default": ()}
CONFIGURATION = """\
from mmengine.config import read_base

with read_base():
    from opencompass.configs.datasets.ceval.ceval_gen_5f30c7 import ceval_datasets
from opencompass.models import HuggingFacewithChatTemplate

datasets = [dataset for dataset in ceval_datasets if dataset["name"] in {subjects!r}]
models = [
    dict(
        type=HuggingFacewithChatTemplate,
        abbr="bench",
        path={model!r},
        model_kwargs=dict(torch_dtype="float32", device_map="cpu"),
        max_out_len=16,
        batch_size=8,
        run_cfg=dict(num_gpus=0),
    )
]
"""


class Outcome(NamedTuple):
    """Texts by question's id, accuracy (0-1) by subject."""

    texts: dict[str, str]
    scores: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="leave out the run of each side that is not counted")
    add_options(parser)
    arguments = parser.parse_args()
    place = Workplace(arguments.work.resolve())
    commands = place.install(opencompass())
    model = place.model("tiny", "float32", str(commands / "python"))
    folder = place.fresh("opencompass")
    exam_files.write_ceval(folder)
    exam_files.write_catalog(folder, DATASET, model, chat=True)
    configuration = folder / "configuration.py"
    configuration.write_text(CONFIGURATION.format(subjects=list(CHINESE_SUBJECTS), model=str(model)))
    environment = place.environment(arguments.threads)
    theirs = environment | {
        "COMPASS_DATA_CACHE": str(folder),
        "PATH": os.pathsep.join((str(commands), os.environ["PATH"])),  # tasks are started as `python`
    }

    def run_theirs(name: str) -> Cost:
        output = place.fresh("opencompass", name)
        command = [str(commands / "opencompass"), str(configuration), "-w", str(output), *MODES[name]]
        return measure(command, theirs, folder)

    def run_ours() -> Cost:
        return our_run.evaluate(place.fresh("opencompass", OURS), folder / "catalog", DATASET, environment)

    sides = {OURS: run_ours, **{name: functools.partial(run_theirs, name) for name in MODES}}
    costs = alternate(sides, arguments.rounds, warm_up=not arguments.cold)
    print(f"whole process, C-Eval form, tiny float32, {arguments.threads} thread(s), OpenCompass at batch 8")
    print(*table(costs), sep="\n")
    _compare(folder)


def _compare(folder: Path) -> None:
    """Prints how far texts and scores of the last runs agree. Raises SystemExit if they differ."""
    ours = _our_outcome(folder / OURS)
    exact = True
    for name in MODES:
        theirs = _their_outcome(folder / name)
        if ours.texts.keys() != theirs.texts.keys():
            raise SystemExit(f"{name} answered {len(theirs.texts)} questions and llm-eval {len(ours.texts)}")
        found = agreement.of_texts([ours.texts[i] for i in ours.texts], [theirs.texts[i] for i in ours.texts])
        equal = sum(abs(ours.scores[s] - theirs.scores[s]) < 1e-9 for s in CHINESE_SUBJECTS)
        print(f"{name}: {' '.join(found.lines)}; score equal in {equal} of {len(CHINESE_SUBJECTS)} subjects")
        exact &= found.exact and equal == len(CHINESE_SUBJECTS)
    print("scores:", ", ".join(f"{subject} {score:.2f}" for subject, score in ours.scores.items()))
    if not exact:
        raise SystemExit("the sides do not agree: the figures compare different work")


def _our_outcome(root: Path) -> Outcome:
    scores = {row["subset"]: row["value"] for row in our_run.published(root) if row["subset"] in CHINESE_SUBJECTS}
    return Outcome(our_run.answers(root), scores)


def _their_outcome(output: Path) -> Outcome:
    texts, scores = {}, {}
    for subject in CHINESE_SUBJECTS:
        name = f"ceval-{subject}.json"
        found = {kind: next(output.glob(f"*/{kind}/bench/{name}"), None) for kind in ("predictions", "results")}
        if missing := [kind for kind, path in found.items() if path is None]:
            # OpenCompass ends with exit code 0 even so; the reason is in the task's own log.
            raise SystemExit(f"OpenCompass left no {' and no '.join(missing)} for {subject}: see {output}/*/logs")
        for number, row in json.loads(found["predictions"].read_text()).items():
            texts[f"{subject}-{number}"] = _without_special_tokens(row["prediction"])
        scores[subject] = json.loads(found["results"].read_text())["accuracy"] / 100
    return Outcome(texts, scores)


def _without_special_tokens(text: str) -> str:
    """OpenCompass leaves them in a text, but for the one that ends it; lm-evaluation-harness and we leave them out."""
    return functools.reduce(lambda rest, token: rest.replace(token, ""), SPECIAL_TOKENS, text)


if __name__ == "__main__":
    main()
