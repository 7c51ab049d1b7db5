"""One whole `llm-eval run`, and what it left in its root."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exam_files import MODEL
from rounds import Cost, measure


def evaluate(root: Path, catalog: Path, dataset: str, environment: Mapping[str, str]) -> Cost:
    """Cost of all stages in an empty root; the published rows are printed into root/printed.json."""
    command = [sys.executable, "-m", "llm_eval", "--catalog", str(catalog), "--root", str(root)]
    command += ["run", "-m", MODEL, "-d", dataset, "--format", "json"]
    return measure(command, environment, root, root / "printed.json")


def answers(root: Path) -> dict[str, Any]:
    """Question's id → its text, or the log-likelihoods of its choices, from the parts that the infer stage wrote."""
    import pyarrow.parquet as parquet  # not earlier: what this process holds counts as the peak of its children

    found = {}
    for part in root.glob("responses/*/*/part-*.parquet"):
        for row in parquet.read_table(part, columns=["request_id", "text", "likelihoods"]).to_pylist():
            scored = [choice["logprob"] for choice in row["likelihoods"]]
            found[row["request_id"]] = scored if row["text"] is None else row["text"]
    return found


def published(root: Path) -> list[dict[str, Any]]:
    """The rows of results/summary."""
    rows: list[dict[str, Any]] = json.loads((root / "printed.json").read_text())
    return rows
