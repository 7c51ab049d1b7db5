"""Published rows with defaults that do not matter."""

from __future__ import annotations

from typing import Any

from llm_eval.records import Result

DEFAULTS: dict[str, Any] = {
    "run_id": "run-1",
    "suite": None,
    "model": "tiny",
    "checkpoint": None,
    "checkpoint_created_at": None,
    "dataset": "mmlu",
    "variant": None,
    "dataset_version": "1cf9f0ab",
    "mode": "gen",
    "subset": "all",
    "aggregation": "micro",
    "headline": True,
    "metric": "accuracy",
    "unit": "fraction",
    "value": 0.5,
    "stderr": 0.01,
    "ci_low": 0.48,
    "ci_high": 0.52,
    "higher_is_better": True,
    "samples": 1000,
    "scored": 1000,
    "no_answer": 0,
    "failed": 0,
    "sample_limit": None,
    "judge": None,
    "responses_fingerprint": "aaaa",
    "scores_fingerprint": "bbbb",
    "logical_date": None,
    "evaluated_at": "2026-01-01T00:00:00+00:00",
    "code_version": "0.1.0",
    "input_tokens": 120_000,
    "output_tokens": 3_000,
    "prefill_tokens": None,
    "prefix_reuse_fraction": None,
    "prefill_tokens_per_second": None,
    "decode_tokens_per_second": None,
    "infer_seconds": 61.5,
    "peak_memory_gib": None,
    "peak_gpu_memory_gib": None,
    "cost_usd": None,
}


def result(value: float = 0.5, **fields: Any) -> Result:
    """One row; the interval is two points either way unless it is given."""
    around = {"value": value, "ci_low": value - 0.02, "ci_high": value + 0.02}
    return Result(**{**DEFAULTS, **around, **fields})


def part(subset: str, value: float, aggregation: str = "micro", **fields: Any) -> Result:
    """A row of a group or, with aggregation "samples", of a subset."""
    return result(value, subset=subset, aggregation=aggregation, headline=False, samples=100, **fields)
