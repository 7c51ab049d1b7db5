"""What a user writes: catalog files and run parameters, checked once by pydantic, frozen afterwards.

Names match `[a-z0-9][a-z0-9.-]*`; a dataset's variant is appended with one underscore (`ceval_ppl`).
Secrets are only ever names of environment variables or Airflow connections. `hide_input_in_errors` keeps a key that was
pasted into a file out of every log.
"""

from __future__ import annotations

from llm_eval.specs.base import Aggregation, DatasetReference, Name, NamedCall, NamedCalls, PositiveInt, Spec
from llm_eval.specs.datasets import (
    DatasetSpec,
    FewShot,
    Fields,
    FilesSource,
    HuggingFaceSource,
    Lookup,
    Prompt,
    Source,
)
from llm_eval.specs.generation import Generation
from llm_eval.specs.humans import Human, HumanPreference, HumanRating
from llm_eval.specs.judges import (
    Baseline,
    Calibration,
    Correctness,
    Dimensions,
    FileBaseline,
    Grade,
    JudgeSpec,
    Judging,
    Pairwise,
    Ranking,
    Rating,
    RunBaseline,
    Scale,
)
from llm_eval.specs.models import (
    Backend,
    Budget,
    CheckpointFolders,
    HubRevisions,
    ModelSpec,
    OpenAIBackend,
    Price,
    ReplayBackend,
    Resources,
    ScriptedBackend,
    Toleration,
    TransformersBackend,
    connection_variables,
)
from llm_eval.specs.notifications import Channel, Event
from llm_eval.specs.runs import (
    Checkpoint,
    Fingerprints,
    PlannedBaseline,
    PlannedJudge,
    ResolvedSource,
    RunParams,
    RunSpec,
    SourceFile,
)
from llm_eval.specs.suites import Gate, SuiteSpec

__all__ = [
    "Aggregation",
    "Backend",
    "Baseline",
    "Budget",
    "Calibration",
    "Channel",
    "Checkpoint",
    "CheckpointFolders",
    "Correctness",
    "DatasetReference",
    "DatasetSpec",
    "Dimensions",
    "Event",
    "FewShot",
    "Fields",
    "FileBaseline",
    "FilesSource",
    "Fingerprints",
    "Gate",
    "Generation",
    "Grade",
    "HubRevisions",
    "HuggingFaceSource",
    "Human",
    "HumanPreference",
    "HumanRating",
    "JudgeSpec",
    "Judging",
    "Lookup",
    "ModelSpec",
    "Name",
    "NamedCall",
    "NamedCalls",
    "OpenAIBackend",
    "Pairwise",
    "PlannedBaseline",
    "PlannedJudge",
    "PositiveInt",
    "Price",
    "Prompt",
    "Ranking",
    "Rating",
    "ReplayBackend",
    "ResolvedSource",
    "Resources",
    "RunBaseline",
    "RunParams",
    "RunSpec",
    "Scale",
    "ScriptedBackend",
    "Source",
    "SourceFile",
    "Spec",
    "SuiteSpec",
    "Toleration",
    "TransformersBackend",
    "connection_variables",
]
