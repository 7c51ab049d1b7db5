"""The answers that people may be asked about: those of the newest published runs of a suite's models."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llm_eval import layout, results
from llm_eval.errors import IncompleteStage, InputError
from llm_eval.human.judges import disagreements
from llm_eval.human.picking import Candidate, Side
from llm_eval.layout import Layout
from llm_eval.records import Result, Sample, SampleResult
from llm_eval.settings import Settings
from llm_eval.specs import Human, HumanPreference, RunSpec, SuiteSpec
from llm_eval.stages import baselines
from llm_eval.stages.fetch import read_samples

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """A published run: what it answered each sample (first attempts), and its judges' disagreement."""

    label: str
    uri: str
    run: RunSpec
    questions: dict[str, Sample]
    texts: dict[str, str]
    disagreement: dict[str, float]


def candidates(settings: Settings, suite: SuiteSpec, human: Human) -> tuple[list[Candidate], list[str]]:
    """Everything that could be asked, and a note on each dataset and model that has nothing to ask about."""
    found: list[Candidate] = []
    notes: list[str] = []
    for reference in human.datasets or suite.datasets:
        rows = _newest(settings, human.models or suite.models, reference)
        runs = []
        for model in human.models or suite.models:
            try:
                if model not in rows:
                    raise LookupError("no run has been published")
                runs.append(answered(settings.root, rows[model], reference))
            except (LookupError, InputError, IncompleteStage) as missing:
                notes.append(f"{model} on {reference}: not asked about: {missing}")
        found += _of_dataset(settings, human, reference, runs, notes)
    for note in notes:
        logger.warning("human: %s", note)
    return found, notes


def _newest(settings: Settings, models: Sequence[str], reference: str) -> dict[str, Result]:
    """The headline row of each model's newest full run, or of its largest one, at its newest checkpoint."""
    rows = results.summary(settings.root, models=models, datasets=[reference])
    mine = results.chosen([row for row in rows if results.reference(row) == reference])
    newest = results.newest_checkpoints(mine)
    return {row.model: row for row in mine if row.headline and row.checkpoint == newest[row.model]}


def answered(root: str, row: Result, reference: str) -> Answered:
    """What a published run said. Raises LookupError for one without texts, InputError or IncompleteStage where files
    are gone."""
    uri = layout.run_uri(root, row.model, reference, row.run_id)
    run = baselines.load(uri)
    if run.dataset.prompt.kind != "generate":
        raise LookupError("the model was not asked to write, only how likely given texts are")
    rows = results.samples(root, row.run_id, row.model, reference)
    return Answered(
        label=label_of(run),
        uri=uri,
        run=run,
        questions={sample.id: sample for sample in read_samples(Layout(root, run))},
        texts=texts_of(rows),
        disagreement=disagreements(run, rows),
    )


def label_of(run: RunSpec) -> str:
    return f"{run.model.name}@{run.checkpoint.name}" if run.checkpoint else run.model.name


def texts_of(rows: Sequence[SampleResult]) -> dict[str, str]:
    return {row.sample_id: row.response for row in rows if row.attempt == 0 and row.response is not None}


def _of_dataset(
    settings: Settings, human: Human, reference: str, runs: Sequence[Answered], notes: list[str]
) -> list[Candidate]:
    if not isinstance(human.ask, HumanPreference):
        return [_candidate(reference, sample_id, [run]) for run in runs for sample_id in run.texts]
    if human.ask.against == "baseline":
        return [one for run in runs for one in _against_baseline(settings, reference, run, notes)]
    found = []
    for first, second in itertools.combinations(runs, 2):
        if first.run.fingerprints.samples != second.run.fingerprints.samples:
            notes.append(f"{reference}, {first.label} and {second.label}: they were asked different questions")
            continue
        both = [sample_id for sample_id in first.texts if sample_id in second.texts]
        found += [_candidate(reference, sample_id, [first, second]) for sample_id in both]
    return found


def _against_baseline(settings: Settings, reference: str, run: Answered, notes: list[str]) -> list[Candidate]:
    if len(run.run.baselines) != 1:
        notes.append(
            f"{run.label} on {reference}: its judge has {len(run.run.baselines)} baselines, where one is needed"
        )
        return []
    (baseline,) = run.run.baselines
    samples = [run.questions[sample_id] for sample_id in run.texts if sample_id in run.questions]
    try:
        answers = baselines.read(baseline, samples, settings)
    except (InputError, IncompleteStage) as missing:
        notes.append(f"{run.label} on {reference}: not asked about: {missing}")
        return []
    found = []
    for sample in samples:
        other = Side(baseline.name, "", _turns(answers[sample.id]))
        alone = _candidate(reference, sample.id, [run])
        found.append(replace(alone, sides=(*alone.sides, other)))
    return found


def _candidate(reference: str, sample_id: str, runs: Sequence[Answered]) -> Candidate:
    sample = runs[0].questions[sample_id]
    return Candidate(
        dataset=reference,
        sample_id=sample_id,
        subset=sample.subset,
        question=_question(sample),
        sides=tuple(Side(run.label, run.uri, run.texts[sample_id]) for run in runs),
        disagreement=sum(run.disagreement.get(sample_id, 0.0) for run in runs),
    )


def _question(sample: Sample) -> str:
    """All that the user says, and the choices there are."""
    choices = [f"{label}. {choice}" for label, choice in zip(sample.labels, sample.choices, strict=True)]
    return _turns(("\n".join([sample.input, *choices]), *sample.follow_ups))


def _turns(texts: Sequence[str]) -> str:
    """As published samples have conversations (`SampleResult.response`)."""
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"[turn {number}]\n{text}" for number, text in enumerate(texts, start=1))
