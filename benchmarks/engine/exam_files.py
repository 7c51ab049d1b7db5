"""Exams as files in each benchmark's own layout, and what either tool needs beside them to ask them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import exams
import yaml

HERE = Path(__file__).resolve().parent
MODEL = "bench"


def write_mmlu(folder: Path) -> None:
    """4 subjects of 50 questions: data/mmlu/{dev,test}/SUBJECT.jsonl, and a task file of each for the harness."""
    pattern = (HERE / "tasks" / "bench_mmlu_SUBJECT.yaml").read_text()
    for exam in exams.mmlu(subjects=4, questions=50):
        for split, questions in (("dev", exam.examples), ("test", exam.questions)):
            rows = [{"question": q.text, "choices": q.choices, "answer": q.answer} for q in questions]
            _jsonl(folder / "data" / "mmlu" / split / f"{exam.subject}.jsonl", rows)
        task = pattern.replace("SUBJECT", exam.subject).replace("TITLE", exam.subject.replace("_", " "))
        _text(folder / "tasks" / f"bench_mmlu_{exam.subject}.yaml", task)
    _text(folder / "tasks" / "bench_mmlu.yaml", (HERE / "tasks" / "bench_mmlu.yaml").read_text())


def write_gsm8k(folder: Path) -> None:
    """64 problems: data/gsm8k/{train,test}.jsonl, and the task file for the harness."""
    for split, problems in (("train", exams.gsm8k(exams.SHOTS, seed=6)), ("test", exams.gsm8k(64))):
        rows = [{"question": p.text, "answer": p.solution} for p in problems]
        _jsonl(folder / "data" / "gsm8k" / f"{split}.jsonl", rows)
    _text(folder / "tasks" / "bench_gsm8k.yaml", (HERE / "tasks" / "bench_gsm8k.yaml").read_text())


def write_ceval(folder: Path) -> None:
    """6 subjects of 20 questions: data/ceval/formal_ceval/{dev,val,test}/SUBJECT_SPLIT.csv, OpenCompass's layout."""
    for exam in exams.ceval(questions=20):
        # OpenCompass opens all three splits of a subject, whichever it asks.
        for split, questions in (("dev", exam.examples), ("val", exam.questions), ("test", exam.questions[:1])):
            path = folder / "data" / "ceval" / "formal_ceval" / split / f"{exam.subject}_{split}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as file:
                rows = csv.writer(file)
                rows.writerow(["id", "question", "A", "B", "C", "D", "answer"])
                rows.writerows([i, q.text, *q.choices, "ABCD"[q.answer]] for i, q in enumerate(questions))


def write_catalog(folder: Path, dataset: str, model: Path, *, chat: bool) -> None:
    """catalog/ for llm-eval: the dataset, and the model under the name MODEL with the engine's own settings."""
    backend = {"kind": "transformers", "path": str(model), "dtype": "float32", "device": "cpu"}
    spec = {"name": MODEL, "backend": backend, "chat": chat}
    name = f"{dataset}.yaml"
    _text(folder / "catalog" / "datasets" / name, (HERE / "catalog" / "datasets" / name).read_text(encoding="utf-8"))
    _text(folder / "catalog" / "models" / f"{MODEL}.yaml", yaml.safe_dump(spec))


def _jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    _text(path, "".join(json.dumps({"id": str(number), **row}) + "\n" for number, row in enumerate(rows)))


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
