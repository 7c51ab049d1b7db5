"""Whose answers a model's are compared with: pinned when a run is planned, complete before the model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_eval import layout, results, sampling, storage, templates
from llm_eval.catalog import parse as parse_spec
from llm_eval.catalog import split_reference
from llm_eval.errors import InputError, InvalidData, InvalidSpec, MissingSource, NotThere
from llm_eval.fingerprint import sha256_hex
from llm_eval.layout import Layout
from llm_eval.prompts import turn_id
from llm_eval.records import Result, Sample
from llm_eval.settings import Settings, find
from llm_eval.sources.formats import parse
from llm_eval.specs import Baseline, FileBaseline, PlannedBaseline, RunBaseline, RunSpec
from llm_eval.stages.scored import read_scored

Answers = Mapping[str, tuple[str, ...]]
"""Sample id → what was answered, turn by turn."""
SHOWN = 3


def pin(baseline: Baseline, reference: str, settings: Settings) -> PlannedBaseline:
    """The baseline as it is now: a file by its hash, a run by its address. Raises InputError if it is not there."""
    if isinstance(baseline, FileBaseline):
        return PlannedBaseline(name=baseline.name, spec=baseline, sha256=sha256_hex(_bytes(baseline, settings)))
    reference = baseline.dataset or reference
    row = _newest(baseline, reference, settings)
    name = f"{row.model}@{row.checkpoint}" if row.checkpoint else row.model
    address = layout.run_uri(settings.root, row.model, reference, row.run_id)
    return PlannedBaseline(name=name, spec=baseline, run_uri=address)


def _newest(baseline: RunBaseline, reference: str, settings: Settings) -> Result:
    dataset, variant = split_reference(reference)
    rows = [
        row
        for row in results.summary(settings.root, models=(baseline.model,), datasets=(dataset,))
        if row.headline
        and row.variant == variant
        and baseline.checkpoint in (None, row.checkpoint)
        and baseline.run_id in (None, row.run_id)
        and (baseline.run_id is not None or row.sample_limit is None)
    ]
    if not rows:
        which = f" run {baseline.run_id!r}" if baseline.run_id else " run with all samples"
        at = f"@{baseline.checkpoint}" if baseline.checkpoint else ""
        raise InputError(
            f"baseline {baseline.model}{at}: no{which} on {reference} has been published under {settings.root}. "
            f"Evaluate it first: llm-eval run -m {baseline.model} -d {reference}"
        )
    return max(rows, key=lambda row: (results.moment(row.checkpoint_created_at), results.moment(row.evaluated_at)))


def identity(baseline: PlannedBaseline) -> object:
    """What its answers depend on."""
    if baseline.run_uri is None:
        return [baseline.spec.model_dump(mode="json", exclude={"name", "path"}), baseline.sha256]
    return load(baseline.run_uri).fingerprints.responses


def load(run_uri: str) -> RunSpec:
    """The run whose answers are compared with. Raises InputError if it is gone."""
    address = layout.join(run_uri, "run.json")
    try:
        planned = storage.read_json(address)
    except NotThere as error:
        raise InputError(f"{address}: the run whose answers are compared with is not there") from error
    return parse_spec(RunSpec, planned, address)


def read(baseline: PlannedBaseline, samples: Sequence[Sample], settings: Settings) -> Answers:
    """Its answer to each of the samples, one text a turn. Raises InvalidData that names those it lacks or has twice."""
    if isinstance(baseline.spec, FileBaseline):
        answers = _of_file(baseline, baseline.spec, samples, settings)
    else:
        answers = _of_run(baseline, samples)
    lacking = [sample.id for sample in samples if len(answers.get(sample.id, ())) < 1 + len(sample.follow_ups)]
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        place = baseline.spec.path if isinstance(baseline.spec, FileBaseline) else baseline.run_uri
        raise InvalidData(
            f"baseline {baseline.name!r} ({place}) lacks answers to {len(lacking)} of {len(samples)} samples: "
            f"{', '.join(lacking[:SHOWN])}{more}. Complete it, or leave these samples out of the dataset."
        )
    return answers


def _of_file(
    baseline: PlannedBaseline, spec: FileBaseline, samples: Sequence[Sample], settings: Settings
) -> dict[str, tuple[str, ...]]:
    data = _bytes(spec, settings)
    if sha256_hex(data) != baseline.sha256:
        raise InvalidData(f"{spec.path}: changed since the run was planned. Plan a new run, or put the file back.")
    subsets = dict.fromkeys(sample.subset for sample in samples)
    by_input: dict[str, list[str]] = {}
    for sample in samples:
        by_input.setdefault(sample.input, []).append(sample.id)
    found: dict[str, tuple[str, ...]] = {}
    places: dict[str, int] = {}
    for place, row in enumerate(parse(spec.path, data, None), start=1):
        names: dict[str, Any] = {**row, "columns": row}
        try:
            key = templates.render(spec.id or spec.input or "", names)
            texts = templates.render_list(spec.text, names)
        except InvalidSpec as error:
            raise InvalidSpec(f"baseline {spec.name!r}: {spec.path}, row {place}: {error}") from error
        if (earlier := places.setdefault(key, place)) != place:
            raise InvalidData(f"{spec.path}: sample {key[:80]!r} is answered twice, in rows {earlier} and {place}")
        ids = [sampling.sample_id(s, key) for s in subsets] if spec.id is not None else by_input.get(key, [])
        found |= dict.fromkeys(ids, texts)
    return found


def _of_run(baseline: PlannedBaseline, samples: Sequence[Sample]) -> dict[str, tuple[str, ...]]:
    assert baseline.run_uri is not None  # of a run
    place = Layout(layout.root_of(baseline.run_uri), load(baseline.run_uri))
    responses = read_scored(place).responses(place)
    found = {}
    for sample in samples:
        turns = range(1, 2 + len(sample.follow_ups))
        answers = [responses.get((turn_id(sample.id, turn), 0)) for turn in turns]
        if all(answer is not None and answer.error is None for answer in answers):
            found[sample.id] = tuple(answer.text or "" for answer in answers if answer is not None)
    return found


def _bytes(spec: FileBaseline, settings: Settings) -> bytes:
    place = find(spec.path, settings.datasets)
    if place is None or not Path(place).is_file():
        looked = ", ".join(map(str, settings.datasets)) or "nowhere: LLM_EVAL_DATASETS is not set"
        raise MissingSource(f"baseline {spec.name!r}: there is no file {spec.path!r}. Looked in {looked}.")
    return Path(place).read_bytes()
