"""Whole runs over the real benchmarks: right answers score exactly 100, wrong ones 0, over every sample."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llm_eval import results, sampling, sources
from llm_eval.catalog import Catalog
from llm_eval.records import Sample
from llm_eval.settings import HOME, Settings
from llm_eval.specs import DatasetSpec
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish

COUNTS = {"mmlu": 14_042, "ceval": 1_346, "cmmlu": 11_582, "piqa": 1_838, "siqa": 1_954, "gsm8k": 1_319}
VARIANTS = [
    "mmlu_gen",
    "mmlu_ppl",
    "ceval_gen",
    "ceval_ppl",
    "cmmlu_gen",
    "cmmlu_ppl",
    "piqa_ppl",
    "siqa_gen",
    "gsm8k_gen",
]


def answer(sample: Sample, dataset: DatasetSpec, right: bool) -> dict[str, object]:
    """A line of a replay file: the right answer, or one that is certainly wrong, as a terse model would give it."""
    target = sample.targets[0]
    if not sample.choices:
        return {"id": sample.id, "text": target if right else f"{target}1"}
    gold = sample.labels.index(target)
    chosen = gold if right else (gold + 1) % len(sample.choices)
    if dataset.prompt.kind == "generate":
        return {"id": sample.id, "text": sample.labels[chosen]}
    likelihoods = [-1.0 if i == chosen else -9.0 for i in range(len(sample.choices))]
    return {"id": sample.id, "logprobs": likelihoods, "tokens": [1] * len(sample.choices)}


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("reference", VARIANTS)
def test_replayed_answers_score_all_or_nothing(benchmark_files, tmp_path: Path, reference, right):
    models = tmp_path / "catalog" / "models"
    models.mkdir(parents=True)
    answers = tmp_path / "answers.jsonl"
    spec = {"name": "replayed", "chat": True, "backend": {"kind": "replay", "path": str(answers)}}
    (models / "replayed.yaml").write_text(yaml.safe_dump(spec))
    settings = replace(Settings.from_environment({}).with_root(str(tmp_path / "root")), datasets=(benchmark_files,))
    catalog = Catalog((HOME / "include" / "catalog", tmp_path / "catalog"))
    dataset = catalog.dataset(reference)
    samples = sampling.to_samples(
        dataset, sources.read(dataset, sources.resolve(dataset, settings), settings).questions
    )
    answers.write_text("".join(json.dumps(answer(s, dataset, right)) + "\n" for s in samples))

    run_all(catalog, settings, Wish("replayed", reference))

    published = results.summary(settings.root)
    (headline,) = [r for r in published if r.headline]
    expected = 1.0 if right else 0.0
    assert (headline.value, headline.samples, headline.scored) == (expected, *[COUNTS[dataset.name]] * 2)
    assert {r.value for r in published if r.metric == headline.metric} == {expected}
    assert (headline.no_answer, headline.failed) == (0, 0)
