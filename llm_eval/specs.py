"""What a user writes: catalog files and run parameters, checked once by pydantic, frozen afterwards.

Names match `[a-z0-9][a-z0-9.-]*`; a dataset's variant is appended with one underscore (`ceval_ppl`).
Secrets are only ever names of environment variables or Airflow connections. `hide_input_in_errors` keeps a key that was
pasted into a file out of every log.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_serializer,
    model_validator,
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=80)]
DatasetReference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*(_[a-z0-9][a-z0-9.-]*)?$")]
PositiveInt = Annotated[int, Field(ge=1)]
Aggregation = Literal["macro", "micro"]


class Spec(BaseModel):
    """Base of everything a user writes: frozen, unknown keys refused, values hidden in error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class NamedCall(Spec):
    """A registered function and its options. YAML short forms: `last_number`, or `{last_number: {option: 1}}`."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and len(value) == 1 and "name" not in value:
            (name, options), *_ = value.items()
            return {"name": name, "options": options if options is not None else {}}
        return value

    @model_serializer
    def _shortest(self) -> Any:
        return {self.name: self.options} if self.options else self.name


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


NamedCalls = Annotated[tuple[NamedCall, ...], BeforeValidator(_one_or_many)]


class Fields(Spec):
    """How a raw row becomes a sample: Jinja templates over the row's columns.

    Beside them: `subset`, `subset_title`, `row` (its place within the subset, from 0), and `columns`, the whole row,
    for columns whose names are no identifiers: `{{ columns['Best Answer'] }}`.
    Values stand as they are; `| trim` strips.
    """

    input: str
    """The question's text."""
    targets: str | tuple[str, ...] = ()
    """Right answers: one template, several, or one `{{ expression }}` yielding a list. With choices: labels."""
    choices: str | tuple[str, ...] = ()
    """Choice texts: several templates, or one `{{ expression }}` that yields a list."""
    id: str | None = None
    """The row's own id, unique within its subset. Absent: a hash of subset, input and choices."""
    metadata: dict[str, str] = {}
    """More columns to keep with the sample, for prompts and reports."""


class FilesSource(Spec):
    """Local files: csv, tsv, jsonl, json (a list of objects), parquet or lines, told by their suffix.

    A relative path is looked for under `LLM_EVAL_DATASETS`, then under the `data/` folder beside the catalog.
    `{subset}` in a path stands for each of the dataset's subsets in turn.
    """

    kind: Literal["files"]
    path: str
    few_shot_path: str | None = None
    extra_columns: dict[str, str] = {}
    """Column name → a text file with one value a line, in the order of `path`'s rows."""
    header: tuple[str, ...] | None = None
    """Column names of a csv file that has no header row."""
    subset_column: str | None = None
    """Column that names each row's subset, where one file holds them all."""
    fields: Fields | None = None


class HuggingFaceSource(Spec):
    """A dataset of the Hugging Face hub, or a local folder in the hub's Parquet layout, read by `datasets`."""

    kind: Literal["huggingface"]
    path: str
    config: str | None = None
    """Configuration name; `{subset}` stands for each subset."""
    split: str = "test"
    few_shot_split: str | None = None
    revision: str | None = None
    """A branch, tag or commit; resolved to a commit when the run is planned."""
    subset_column: str | None = None
    """Column that names each row's subset, where one configuration holds them all."""
    fields: Fields | None = None


Source = Annotated[FilesSource | HuggingFaceSource, Field(discriminator="kind")]


class FewShot(Spec):
    """Worked examples before the question. Over-long prompts drop them from the end, one by one."""

    select: Literal["first", "fixed"] = "first"
    count: PositiveInt | None = None
    """first: the first `count` rows of the few-shot split, of the sample's own subset."""
    rows: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """fixed: these rows (from 0) of the few-shot split, of the sample's own subset, in this order."""
    examples: tuple[dict[str, str], ...] = ()
    """fixed: examples written out here, each with `user` and `assistant`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.select == "first" and (self.count is None or self.rows or self.examples):
            raise ValueError("few_shot with select: first needs `count`, and neither `rows` nor `examples`")
        if self.select == "fixed" and (self.count is not None or bool(self.rows) == bool(self.examples)):
            raise ValueError("few_shot with select: fixed needs either `rows` or `examples`, and no `count`")
        for example in self.examples:
            if set(example) != {"user", "assistant"}:
                raise ValueError("a few_shot example has exactly the keys `user` and `assistant`")
        return self


class Prompt(Spec):
    """How a sample becomes a request. Templates see the sample: input, choices, labels, subset, subset_title, metadata.

    kind generate: the model continues. choices: log-likelihood of each choice's continuation given the prompt
    ("ppl" in OpenCompass words when the choices are single letters). perplexity: log-likelihood of the whole text.
    """

    kind: Literal["generate", "choices", "perplexity"]
    template: str
    """The question as the model sees it; the user turn of a chat model."""
    answer: str = " {{ target }}"
    """The answer as a few-shot example shows it; also sees `target` (the first right one), `target_text`, `targets`."""
    continuation: str = " {{ label }}"
    """Kinds choices and perplexity: one per choice; also sees `label`, `choice`. The leading space belongs here:
    " B" and "B" are different tokens in most vocabularies. Chat models get it stripped: a turn begins without one."""
    header: str = ""
    """Stands once, before the first example (or the question, where there is none)."""
    separator: str = "\n\n"
    """Between examples, and between the last example and the question. Text models only."""
    system: str | None = None
    """System turn of chat models."""
    few_shot: FewShot | None = None


class Generation(Spec):
    """Decoding. The defaults are greedy."""

    max_tokens: PositiveInt = 256
    temperature: Annotated[float, Field(ge=0)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: PositiveInt | None = None
    stop: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """The text is cut before the first of these."""
    seed: int = 0
    attempts: PositiveInt = 1
    """Answers per prompt; a sample's value is the mean over them."""


class DatasetSpec(Spec):
    """One benchmark: where its rows come from, how they are asked, and how answers are scored."""

    name: Name
    description: str = ""
    homepage: str | None = None
    license: str | None = None
    reference: str | None = None
    """Which published procedure this follows, so that numbers compare."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    fields: Fields
    subsets: dict[str, str] = {}
    """Subset name → title for prompts. A list in YAML takes names as titles, underscores read as blanks."""
    groups: dict[Name, tuple[str, ...]] = {}
    """Group name → its subsets; groups may overlap."""
    headline: Aggregation = "micro"
    """macro: mean of the subsets' means. micro: mean over all samples."""
    samples_per_subset: PositiveInt | None = None
    """Keep only the first rows of each subset: smoke tests."""
    prompt: Prompt
    generation: Generation = Generation()
    extract: NamedCalls = ()
    """Tried in order until one finds an answer. Kind generate only."""
    metrics: Annotated[NamedCalls, Field(min_length=1)]
    """The first is the headline."""
    expectations: NamedCalls = ()
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Samples that may fail through no fault of the model before the run itself fails."""
    variants: dict[Name, dict[str, Any]] = {}
    """Named overrides, merged key by key; null takes a key away; `extends` names another variant to start from."""

    @field_validator("subsets", mode="before")
    @classmethod
    def _titles(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return {name: str(name).replace("_", " ") for name in value}
        return value

    @field_validator("groups")
    @classmethod
    def _no_reserved_group(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if "all" in value:
            raise ValueError("'all' is the name of the whole dataset; name the group otherwise")
        return value

    @model_validator(mode="after")
    def _groups_hold_known_subsets(self) -> Self:
        for group, members in self.groups.items():
            if unknown := [m for m in members if m not in self.subsets]:
                raise ValueError(f"group {group!r} names unknown subsets: {', '.join(unknown)}")
            if len(set(members)) != len(members):
                raise ValueError(f"group {group!r} names a subset twice")
            if group in self.subsets:
                raise ValueError(f"group {group!r} has the name of a subset")
        return self

    @model_validator(mode="after")
    def _extractors_fit_kind(self) -> Self:
        if self.prompt.kind == "generate" and not self.extract:
            raise ValueError("prompt kind generate needs `extract` (use `whole_text` to take the text as it is)")
        if self.prompt.kind != "generate" and self.extract:
            raise ValueError(f"prompt kind {self.prompt.kind} has no text to extract from; set `extract: []`")
        return self


class TransformersBackend(Spec):
    """A model that the `transformers` library loads, from a folder or the hub, on this machine."""

    kind: Literal["transformers"]
    path: str
    """A Hugging Face folder (relative: under LLM_EVAL_MODELS) or a hub id."""
    revision: str | None = None
    tokenizer_path: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, …"""
    device_map: str | None = None
    """Passed to from_pretrained, for models too big for one device: auto, balanced, sequential."""
    trust_remote_code: bool = False
    batch_size: PositiveInt = 8


class ReplayBackend(Spec):
    """Answers made elsewhere, read by sample id from a jsonl or Parquet file."""

    kind: Literal["replay"]
    path: str
    """Relative: looked for as a files source is. `{dataset}` stands for the dataset's name."""
    id: str = "id"
    text: str = "text"
    """Column of the answer's text, for kind generate."""
    logprobs: str = "logprobs"
    """Column with one log-likelihood (nats) per choice, for kinds choices and perplexity."""
    tokens: str = "tokens"
    """Column with one token count per choice; needed by metrics that are per token."""


class ScriptedBackend(Spec):
    """Canned answers, for tests and dry runs: reproducible, no weights, faults on demand."""

    kind: Literal["scripted"]
    replies: Annotated[tuple[str, ...], Field(min_length=1)] = ("A", "B", "C", "D")
    """One of these per request, picked by a hash of the request's id and attempt."""
    seconds_per_reply: Annotated[float, Field(ge=0)] = 0.0
    lost_after: PositiveInt | None = None
    """Raise BackendLost after this many replies in one process."""
    failing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of requests, picked by hash, that come back with an error."""
    journal: str | None = None
    """File that each asked request id is appended to before it is answered; not part of the identity."""


Backend = Annotated[TransformersBackend | ReplayBackend | ScriptedBackend, Field(discriminator="kind")]


class CheckpointFolders(Spec):
    """Checkpoints of one training run as folders below one folder."""

    kind: Literal["folders"]
    path: str
    """Relative: under LLM_EVAL_MODELS."""
    pattern: str = "*"


class Resources(Spec):
    """What one shard of this model's infer stage needs."""

    gpus: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[float, Field(gt=0)] | None = None
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    shards: PositiveInt = 1
    """Slices of the requests that are answered side by side."""
    image: str | None = None
    """Container image; needed for run_on: kubernetes."""
    node_selector: dict[str, str] = {}


class ModelSpec(Spec):
    """One model: what answers, how it is addressed, and what it needs."""

    name: Name
    description: str = ""
    backend: Backend
    chat: bool
    """true: prompts are conversations, rendered by the tokenizer's own chat template. false: prompts are plain text.
    There is no default: many base models ship a template that they were never trained on."""
    context_tokens: PositiveInt | None = None
    """Prompt and answer must fit. Absent: the backend's own limit."""
    checkpoints: CheckpointFolders | None = None
    run_on: Literal["worker", "kubernetes"] = "worker"
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _kubernetes_needs_an_image(self) -> Self:
        if self.run_on == "kubernetes" and self.resources.image is None:
            raise ValueError("run_on: kubernetes needs resources.image")
        return self


class SuiteSpec(Spec):
    """Which models are evaluated on which datasets, and when."""

    name: Name
    description: str = ""
    schedule: str | None = None
    """Cron, UTC. Absent: only by hand."""
    models: Annotated[tuple[Name, ...], Field(min_length=1)]
    datasets: Annotated[tuple[DatasetReference, ...], Field(min_length=1)]

    @field_validator("models", "datasets")
    @classmethod
    def _no_repeats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := {v for v in value if value.count(v) > 1}:
            raise ValueError(f"named twice: {', '.join(sorted(repeated))}")
        return value

    @field_validator("schedule")
    @classmethod
    def _five_fields(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("@") and len(value.split()) != 5:
            raise ValueError("schedule is a cron expression of five fields (or @daily, @weekly, …)")
        return value


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
        '{"dataset.generation.max_tokens": 64, "model.backend.batch_size": 4}',
    )


class Checkpoint(Spec):
    """One set of weights of a model."""

    name: str
    path: str
    created_at: str
    """ISO 8601, UTC."""


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


class RunSpec(Spec):
    """Everything a stage needs to know: `run.json`, written by `plan` and changed by nothing."""

    run_id: str
    suite: str | None = None
    model: ModelSpec
    checkpoint: Checkpoint | None = None
    dataset: DatasetSpec
    variant: str | None = None
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

    @property
    def shards(self) -> int:
        return self.params.shards or self.model.resources.shards
