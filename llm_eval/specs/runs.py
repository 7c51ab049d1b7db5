"""One run: its parameters, and everything that its stages need to know."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from llm_eval.errors import UnknownName
from llm_eval.specs.base import CheckpointName, PositiveInt, Spec
from llm_eval.specs.datasets import DatasetSpec
from llm_eval.specs.judges import Baseline, JudgeSpec
from llm_eval.specs.models import ModelSpec


class RunParams(Spec):
    """Parameters of one run; the command line, the trigger form and REST all take exactly these."""

    checkpoint: str | None = Field(None, title="Checkpoint", description="Name of a checkpoint. Empty: the newest one.")
    limit: PositiveInt | None = Field(
        None, title="Limit", description="Ask only this many samples, drawn evenly at random. Empty: all of them."
    )
    shards: PositiveInt | None = Field(
        None, title="Shards", description="Slices answered side by side. Empty: as the model's YAML says."
    )
    force: bool = Field(False, title="Force", description="Redo every stage, also those already done.")
    overrides: dict[str, Any] = Field(
        {},
        title="Overrides",
        description="Catalog values for this run only, by dotted key: "
        '{"dataset.generation.max_tokens": 64, "model.backend.batch_tokens": 4, "judge.model": "another"}',
    )


class Checkpoint(Spec):
    """One set of weights of a model."""

    name: CheckpointName
    path: str
    """A folder, or a hub id; what else a backend understands."""
    created_at: str
    """ISO 8601, UTC, whole seconds; no two checkpoints of a model have the same."""
    revision: str | None = None
    """Commit of the hub, where `path` is a hub id."""


class SourceFile(Spec):
    path: str
    sha256: str


class ResolvedSource(Spec):
    """Which source a run reads, pinned: the hash of each file, or the hub's commit."""

    index: int
    revision: str | None = None
    files: tuple[SourceFile, ...] = ()


class Fingerprints(Spec):
    samples: str
    requests: str
    responses: str
    scores: str
    verdicts: str | None = None
    """None where nothing is judged."""


class PlannedJudge(Spec):
    """A judge, the model behind it, and where its replies are kept."""

    spec: JudgeSpec
    model: ModelSpec
    checkpoint: Checkpoint | None = None
    weights: str
    """As of a run: identity of what answers."""
    replies: str
    """Identity of whatever decides a reply apart from the prompt: model, weights, decoding."""
    calibration_sha256: str | None = None
    """Of its labelled answers."""


class PlannedBaseline(Spec):
    """Whose answers the model's are compared with, pinned."""

    name: str
    spec: Baseline
    sha256: str | None = None
    """Of a file."""
    run_uri: str | None = None
    """Of a run."""


class RunSpec(Spec):
    """Everything a stage needs to know: `run.json`, written by `plan` and changed by nothing."""

    run_id: str
    suite: str | None = None
    model: ModelSpec
    checkpoint: Checkpoint | None = None
    dataset: DatasetSpec
    variant: str | None = None
    judges: tuple[PlannedJudge, ...] = ()
    baselines: tuple[PlannedBaseline, ...] = ()
    params: RunParams = RunParams()
    source: ResolvedSource
    weights: str
    """Identity of the weights, or of whatever answers: see backends.identity."""
    fingerprints: Fingerprints
    dataset_version: str
    logical_date: str | None = None
    planned_at: str
    code_version: str

    @property
    def dataset_reference(self) -> str:
        return f"{self.dataset.name}_{self.variant}" if self.variant else self.dataset.name

    def judge(self, name: str) -> PlannedJudge:
        """Raises UnknownName."""
        for judge in self.judges:
            if judge.spec.name == name:
                return judge
        raise UnknownName(f"judge of run {self.run_id!r}", name, [j.spec.name for j in self.judges])

    @property
    def shards(self) -> int:
        return self.params.shards or self.model.resources.shards
