"""One benchmark: where its rows come from, how they are asked, how answers are scored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from llm_eval.specs.base import Aggregation, GroupName, Name, NamedCalls, PositiveInt, Spec
from llm_eval.specs.generation import Generation
from llm_eval.specs.judges import JudgingField


class Fields(Spec):
    """How a raw row becomes a sample: Jinja templates over the row's columns.

    Beside them: `subset`, `subset_title`, `row` (its place within the subset, from 0), and `columns`, the whole row,
    for columns whose names are no identifiers: `{{ columns['Best Answer'] }}`.
    Values stand as they are; `| trim` strips.
    """

    input: str
    """The question's text; of a conversation, its first turn."""
    follow_ups: str | tuple[str, ...] = ()
    """What the user says after each answer: several templates, or one `{{ expression }}` that yields a list."""
    targets: str | tuple[str, ...] = ()
    """Right answers: one template, several, or one `{{ expression }}` yielding a list. With choices: labels. Of a
    conversation: the reference answer of each turn."""
    choices: str | tuple[str, ...] = ()
    """Choice texts: several templates, or one `{{ expression }}` that yields a list."""
    id: str | None = None
    """The row's own id, unique within its subset. Absent: a hash of subset, input and choices."""
    metadata: dict[str, str] = {}
    """More columns to keep with the sample, for prompts and reports."""


class Lookup(Spec):
    """Rows of another file, found by a column that both have."""

    path: str
    key: str
    """Name of the column. No two rows of the other file may agree in it."""


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
    lookups: dict[str, Lookup] = {}
    """Column name → the row of another file that belongs to the row, as a mapping; null where there is none."""
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
    groups: dict[GroupName, tuple[str, ...]] = {}
    """Group name → its subsets; groups may overlap."""
    headline: Aggregation = "micro"
    """macro: mean of the subsets' means. micro: mean over all samples. groups: mean of the groups' macro means."""
    samples_per_subset: PositiveInt | None = None
    """Keep only the first rows of each subset: smoke tests."""
    prompt: Prompt
    generation: Generation = Generation()
    extract: NamedCalls = ()
    """Tried in order until one finds an answer. Kind generate only."""
    metrics: NamedCalls = ()
    """The first is the headline, unless a judge gives one."""
    judge: JudgingField | None = None
    """Who judges the answers."""
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
    def _is_measured(self) -> Self:
        if not self.metrics and self.judge is None:
            raise ValueError("a dataset needs `metrics`, a `judge`, or both")
        if self.judge is not None and self.prompt.kind != "generate":
            raise ValueError("a judge reads what a model wrote; the prompt's kind must be generate")
        if self.judge is not None and self.judge.after_rule is not None and not self.metrics:
            raise ValueError("judge.after_rule needs `metrics`, whose first is the rule")
        if self.headline == "groups" and not self.groups:
            raise ValueError("headline: groups needs `groups`")
        return self

    @model_validator(mode="after")
    def _conversations_are_generated_once(self) -> Self:
        if self.fields.follow_ups and (self.prompt.kind != "generate" or self.generation.attempts != 1):
            raise ValueError("fields.follow_ups needs a prompt of kind generate and one attempt")
        return self

    @model_validator(mode="after")
    def _temperatures_are_of_subsets(self) -> Self:
        if unknown := [name for name in self.generation.temperatures if name not in self.subsets]:
            raise ValueError(f"generation.temperatures names unknown subsets: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _extractors_fit_kind(self) -> Self:
        if self.prompt.kind == "generate" and self.metrics and not self.extract:
            raise ValueError("prompt kind generate needs `extract` (use `whole_text` to take the text as it is)")
        if self.prompt.kind != "generate" and self.extract:
            raise ValueError(f"prompt kind {self.prompt.kind} has no text to extract from; set `extract: []`")
        return self
