"""One judge: a model of the catalog, a prompt, and how its verdict is read and counted."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from llm_eval.specs.base import DatasetReference, Name, NamedCalls, Spec
from llm_eval.specs.generation import Generation

Grade = Literal["first_much", "first", "tie", "second", "second_much"]
"""Which of two answers is better, by its place in the prompt; `_much` where the judge tells clear wins from slight."""


class Correctness(Spec):
    """Is the answer right? Metrics: judged_accuracy, judged_accuracy_attempted, attempted, judged_f1."""

    kind: Literal["correctness"]
    labels: dict[str, Literal["correct", "incorrect", "not_attempted"]] = {
        "CORRECT": "correct",
        "INCORRECT": "incorrect",
    }
    """What the judge writes → what it means."""

    @field_validator("labels")
    @classmethod
    def _tells_right_from_wrong(cls, value: dict[str, str]) -> dict[str, str]:
        if not {"correct", "incorrect"} <= set(value.values()):
            raise ValueError("labels need one that means `correct` and one that means `incorrect`")
        return value


class Scale(Spec):
    """What a number may be."""

    low: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    high: Annotated[float, Field(allow_inf_nan=False)] = 10.0
    whole: bool = False
    """Only whole numbers are verdicts."""

    @model_validator(mode="after")
    def _is_a_scale(self) -> Self:
        if self.low >= self.high:
            raise ValueError("the scale's low end must lie below its high end")
        return self


class Rating(Scale):
    """One number on a scale. Metrics: rating, and with `turns: each` rating:turn-1, rating:turn-2, …"""

    kind: Literal["rating"]


class Dimensions(Scale):
    """A number for each of several dimensions, and one overall. Metrics: rating, and rating:DIMENSION for each."""

    kind: Literal["dimensions"]
    dimensions: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """Their names: a list, or a template that yields one for each sample."""
    overall: Annotated[str, Field(min_length=1)]
    """The key of the overall rating."""
    whole: bool = True
    strict: bool = True
    """Every dimension of the sample must be rated. false: those that are count, if the overall rating is there."""


class Pairwise(Spec):
    """Which of two answers is better: the model's or the baseline's. Metrics: win_rate, discrete_win_rate,
    length_controlled_win_rate, bradley_terry, style_controlled_win_rate; consistency and first_slot_rate where both
    orders are asked."""

    kind: Literal["pairwise"]
    labels: Annotated[dict[str, Grade], Field(min_length=2)]
    both_orders: bool = True
    """Ask each pair twice, sides swapped. false: once, the model's side drawn by a hash of the sample's id."""
    probabilities: bool = False
    """The verdict is how likely each label was as the answer's first token, not which one was written; needs a judge
    model that says (`generation.top_logprobs`)."""
    conservative: bool = False
    """A win counts only if both orders agree, else the pair is a tie (MT-Bench's rule, Zheng et al. 2023)."""
    much: Annotated[float, Field(ge=1)] = 3.0
    """How many games of bradley_terry a clear win stands for (Arena-Hard: 3)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not {"first", "second"} <= {grade.removesuffix("_much") for grade in self.labels.values()}:
            raise ValueError("labels need one that means `first` and one that means `second`")
        if self.probabilities and set(self.labels.values()) != {"first", "second"}:
            raise ValueError("probabilities: true weighs exactly two labels, `first` and `second`")
        if self.conservative and not self.both_orders:
            raise ValueError("conservative: true compares both orders; both_orders: false asks only one")
        return self


class Ranking(Spec):
    """All answers in order, the best first; labels are A, B, C, … in the order shown. Metrics: win_rate (the share of
    the others that the model's answer is placed before) and rank."""

    kind: Literal["ranking"]
    both_orders: bool = True
    """Ask twice, the second time in the opposite order."""


VerdictKind = Annotated[Correctness | Rating | Dimensions | Pairwise | Ranking, Field(discriminator="kind")]


class Calibration(Spec):
    """Answers that people have labelled, which a judge of right or wrong must judge as they did before it counts."""

    path: str
    """csv, tsv, json, jsonl or Parquet; relative: looked for as a files source is."""
    input: str
    """Template over a row's columns: the question."""
    answer: str
    reference: str = ""
    """The right answer, where the judge's prompt shows one."""
    label: str
    """correct, incorrect or not_attempted."""
    min_agreement: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the labels that the judge must agree with."""
    min_kappa: Annotated[float, Field(gt=0, le=1)] | None = None
    """Cohen's kappa that it must reach."""
    by: Literal["value", "ci_low"] = "value"
    """What must reach it: the value itself, or the lower end of its 95 % interval, which few labels do not reach."""

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if (self.min_agreement is None) == (self.min_kappa is None):
            raise ValueError("calibration needs min_agreement or min_kappa, one of both")
        return self


class JudgeSpec(Spec):
    """A judge: a model of the catalog, a prompt, and a way to read its verdict.

    Templates see: input (the question), answer (what the model said), reference (the first right answer, "" where there
    is none), targets, choices, labels, subset, subset_title, metadata, turns (each with user, assistant, reference),
    turn (which one is judged, from 1), words (how many the answer has), and the constants below. Pairwise and ranking:
    also first and second (texts), answers (all texts in the order shown), labels_shown (A, B, …), and of a
    conversation first_turns, second_turns.
    """

    name: Name
    description: str = ""
    reference: str | None = None
    """Which published procedure this follows."""
    model: Name
    """The model of the catalog that judges."""
    verdict: VerdictKind
    system: str = ""
    template: str
    constants: dict[str, Any] = {}
    """Tables that the templates look things up in."""
    generation: Generation = Generation(max_tokens=1024)
    read: NamedCalls = ()
    """Readers of the verdict, tried in order until one finds it. None where it is read from probabilities."""
    structured: bool = False
    """Hold the judge to a JSON schema made from `verdict`; read it with `json_verdict`."""
    ask_again: str | None = (
        "Your verdict could not be read: {{ reason }}. Reply with the verdict alone, exactly in the form asked for."
    )
    """What an unreadable verdict is answered, once. null: nothing, it has failed at once."""
    turns: Literal["last", "each"] = "last"
    """Of conversations: one verdict on the last turn, or one on each."""
    unanswered: Literal["worst", "ask"] = "worst"
    """An empty answer: the worst verdict without asking, or a question for the judge like any other."""
    calibration: Calibration | None = None
    """When this judge's verdicts count. Absent: always."""
    headline: str | None = None
    """The metric of this judge that stands for the dataset. Absent: judged_accuracy, rating or win_rate."""

    @field_validator("generation")
    @classmethod
    def _one_attempt(cls, value: Generation) -> Generation:
        if value.attempts != 1:
            raise ValueError("a judge is asked once for each answer; leave `attempts` out")
        return value

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if isinstance(self.verdict, Pairwise) and self.verdict.probabilities:
            if self.generation.top_logprobs is None:
                raise ValueError("verdict.probabilities needs generation.top_logprobs, such as 5")
            if self.ask_again is not None and "ask_again" in self.model_fields_set:
                raise ValueError("probabilities of a second, different question mean something else: ask_again: null")
        elif not self.read:
            raise ValueError("`read` names how the verdict is found, such as [last_tag]")
        if self.calibration is not None and not isinstance(self.verdict, Correctness):
            raise ValueError("calibration is for judges of kind correctness")
        if self.structured and [call.name for call in self.read] != ["json_verdict"]:
            raise ValueError("structured: true is read by [json_verdict]")
        return self


class FileBaseline(Spec):
    """Another model's answers in a file: json (a list of objects), jsonl, csv or Parquet."""

    kind: Literal["file"]
    name: Annotated[str, Field(min_length=1)]
    """Whose answers they are."""
    path: str
    """Relative: looked for as a files source is."""
    id: str | None = None
    """Template over a row's columns: the sample's own id (`fields.id`)."""
    input: str | None = None
    """Template over a row's columns: the sample's question, where rows carry no ids."""
    text: str
    """Template over a row's columns: the answer; a lone `{{ expression }}` that yields a list has one for each turn."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.id is None) == (self.input is None):
            raise ValueError("a baseline's rows are matched by `id` or by `input`: give one of them")
        return self


class RunBaseline(Spec):
    """What another model of the catalog answered to the same samples in the newest published run, or in a named one."""

    kind: Literal["run"]
    model: Name
    dataset: DatasetReference | None = None
    """The dataset, or another variant of it, that the run was of. Absent: the judged one itself."""
    checkpoint: str | None = None
    """Absent: the newest evaluated one."""
    run_id: str | None = None


Baseline = Annotated[FileBaseline | RunBaseline, Field(discriminator="kind")]


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return {"judges": [value]}
    return {"judges": value} if isinstance(value, list) else value


class Judging(Spec):
    """Who judges a dataset's answers. Short forms: `judge: NAME`, `judge: [NAME, NAME, NAME]`."""

    judges: Annotated[tuple[Name, ...], Field(min_length=1)]
    combine: Literal["mean", "vote"] = "mean"
    """Of several judges: the mean of their values, or what more than half of them say."""
    after_rule: Literal["no_answer", "wrong"] | None = None
    """Judge only what the dataset's first metric leaves undecided: answers in which nothing was found (no_answer), or
    also those it calls wrong (wrong). Published: judged_accuracy of those, and cascade_accuracy of all."""
    baselines: tuple[Baseline, ...] = ()
    """Whose answers the model's are compared with: one for pairwise judges, any number for ranking ones."""

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        if len(set(self.judges)) != len(self.judges):
            raise ValueError("a judge is named twice")
        if self.combine == "vote" and len(self.judges) % 2 == 0:
            raise ValueError("combine: vote needs an odd number of judges, or half of the votes would be ties")
        return self


JudgingField = Annotated[Judging, BeforeValidator(_short)]
