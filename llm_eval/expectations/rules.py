"""Named expectations: one function each, from a dataset and its YAML options to the rule that is tried on the data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, ValidationError, validate_call

from llm_eval.errors import InvalidSpec
from llm_eval.expectations import columns
from llm_eval.expectations.columns import Column
from llm_eval.registry import Registry
from llm_eval.specs import DatasetSpec, NamedCall

MOST_CHOICES = 26  # labels are A to Z

Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Rule:
    """One Great Expectations expectation with what it means.

    name: as in YAML. what: the rule as a sentence. expectation: a class of `great_expectations.expectations`.
    column: what is looked at; None for the whole table and for the table of subsets (`subset`, `rows`, `subset_rows`).
    """

    name: str
    what: str
    expectation: str
    arguments: dict[str, Any]
    column: Column | None = None
    about: Literal["samples", "subsets"] = "samples"


EXPECTATIONS: Registry[Callable[..., Rule]] = Registry("expectation")


def expectation(name: str) -> Callable[[Callable[..., Rule]], Callable[..., Rule]]:
    """Register the decorated function; its keyword-only parameters are the options, checked by their annotations."""
    strict = validate_call(config=ConfigDict(strict=True, hide_input_in_errors=True, arbitrary_types_allowed=True))
    return lambda function: EXPECTATIONS.add(name, strict(function))


def rules_of(dataset: DatasetSpec) -> tuple[Rule, ...]:
    """Rules of a dataset: those of `always`, then the YAML's in its order, repetitions left out."""
    rules = [*always(dataset), *(_named(dataset, call) for call in dataset.expectations)]
    kept: dict[object, Rule] = {}
    for rule in rules:
        kept.setdefault((rule.expectation, rule.about, rule.column and rule.column.name, repr(rule.arguments)), rule)
    return tuple(kept.values())


def _named(dataset: DatasetSpec, call: NamedCall) -> Rule:
    where = f"dataset {dataset.name!r}"
    function = EXPECTATIONS.get(call.name, f"It stands in `expectations` of {where}.")
    try:
        return function(dataset, **call.options)
    except ValidationError as error:
        faults = "; ".join(_fault(fault) for fault in error.errors(include_input=False, include_url=False))
        raise InvalidSpec(f"{where}: expectation {call.name!r}: {faults}") from None
    except ValueError as error:
        raise InvalidSpec(f"{where}: expectation {call.name!r}: {error}") from None


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    message = {"unexpected_keyword_argument": "unknown option", "missing_keyword_only_argument": "is needed"}
    return f"{place}: {message.get(fault['type'], fault['msg'])}"


class _Bounds(NamedTuple):
    low: int | None
    high: int | None

    def __str__(self) -> str:
        if self.low == self.high:
            return f"exactly {self.low:,}"
        parts = [
            f"{word} {bound:,}" for word, bound in (("at least", self.low), ("at most", self.high)) if bound is not None
        ]
        return " and ".join(parts)


def _bounds(equals: int | None = None, at_least: int | None = None, at_most: int | None = None) -> _Bounds:
    if (equals is None) == (at_least is None and at_most is None):
        raise ValueError("needs either `equals`, or `at_least` and/or `at_most`")
    if equals is not None:
        return _Bounds(equals, equals)
    if at_least is not None and at_most is not None and at_least > at_most:
        raise ValueError(f"at_least {at_least} is above at_most {at_most}: no data can keep it")
    return _Bounds(at_least, at_most)


def _between(name: str, what: str, column: Column, low: float | None, high: float | None, mostly: float = 1) -> Rule:
    arguments = {"min_value": low, "max_value": high, "mostly": mostly}
    return Rule(name, what, "ExpectColumnValuesToBeBetween", arguments, column)


def _rows(bounds: _Bounds, note: str = "") -> Rule:
    arguments = {"min_value": bounds.low, "max_value": bounds.high}
    rows = "row" if str(bounds).endswith(" 1") else "rows"
    return Rule("row_count", f"{bounds} {rows}{note}", "ExpectTableRowCountToBeBetween", arguments)


def always(dataset: DatasetSpec) -> Iterator[Rule]:
    """What holds for every dataset, named in its YAML or not.

    At least one row; ids unique and not blank; inputs not blank; a first target that is not blank, where the dataset
    declares targets and metrics, or its prompt is of kind choices; and where there are choices: 2 to 26 of them, none
    blank, every target one of their labels. A dataset that declares subsets has rows in each of them and in no others.
    """
    yield _rows(_Bounds(1, None))
    yield unique_ids(dataset)
    yield _between("no_blank_ids", "no id is blank", columns.ID_CHARACTERS, 1, None)
    yield no_blank_inputs(dataset)
    declared = [dataset.fields, *(s.fields for s in dataset.sources if s.fields)]
    is_measured = bool(dataset.metrics)  # a judge may do without a reference answer here and there
    if dataset.prompt.kind == "choices" or (is_measured and any(fields.targets for fields in declared)):
        what = "every sample has a target, and the first one is not blank"
        yield _between("has_target", what, columns.FIRST_TARGET_CHARACTERS, 1, None)
    if dataset.prompt.kind == "choices" or any(fields.choices for fields in declared):
        what = f"where there are choices, there are 2 to {MOST_CHOICES} of them"
        yield _between("choice_count", what, columns.CHOICES_IF_ANY, 2, MOST_CHOICES)
        yield _between("no_blank_choices", "no choice is blank", columns.BLANK_CHOICES, None, 0)
        what = "where there are choices, every target is one of their labels"
        yield _between("target_is_a_choice", what, columns.FOREIGN_TARGETS_IF_CHOICES, None, 0)
    if dataset.subsets:
        yield subset_row_counts(dataset, at_least=1)
        what, known = "no subset is there that the dataset does not declare", {"value_set": sorted(dataset.subsets)}
        yield Rule(
            "declared_subsets", what, "ExpectColumnValuesToBeInSet", known | {"column": "subset"}, about="subsets"
        )


@expectation("row_count")
def row_count(
    dataset: DatasetSpec, *, equals: Count | None = None, at_least: Count | None = None, at_most: Count | None = None
) -> Rule:
    bounds = _bounds(equals, at_least, at_most)
    if dataset.samples_per_subset is None:
        return _rows(bounds)
    return _rows(_Bounds(1, bounds.high), " (samples_per_subset keeps only some)")


@expectation("subset_row_counts")
def subset_row_counts(dataset: DatasetSpec, /, *, at_least: Count | None = None, **rows: Count) -> Rule:
    """`{subset: rows, …}` for those subsets exactly, or `at_least` for every declared subset."""
    if (at_least is None) == (not rows):
        raise ValueError("needs either `at_least`, or numbers of rows by name of subset")
    unknown = [name for name in rows if name not in dataset.subsets]
    if unknown and dataset.subsets:  # without declared subsets a column of the data names them
        raise ValueError(
            f"{', '.join(map(repr, unknown))} not among the dataset's subsets: {', '.join(dataset.subsets)}"
        )
    most = dataset.samples_per_subset
    if at_least is not None:
        low = at_least if most is None else min(at_least, most)
        arguments: dict[str, Any] = {"column": "rows", "min_value": low, "max_value": None}
        what = f"every declared subset has at least {low:,} {'row' if low == 1 else 'rows'}"
        return Rule("subset_row_counts", what, "ExpectColumnValuesToBeBetween", arguments, about="subsets")
    wanted = {name: count if most is None else min(count, most) for name, count in rows.items()}
    arguments = {"column": "subset_rows", "value_set": [subset_rows(*pair) for pair in wanted.items()]}
    what = f"each of {len(wanted)} subsets has just as many rows as named for it"
    return Rule("subset_row_counts", what, "ExpectColumnDistinctValuesToContainSet", arguments, about="subsets")


def subset_rows(subset: str, rows: int) -> str:
    """How the table of subsets writes a subset with its number of rows."""
    return f"{subset}: {rows}"


@expectation("unique_ids")
def unique_ids(dataset: DatasetSpec) -> Rule:
    return Rule("unique_ids", "no id occurs twice", "ExpectColumnValuesToBeUnique", {}, columns.ID)


@expectation("no_blank_inputs")
def no_blank_inputs(dataset: DatasetSpec) -> Rule:
    return _between("no_blank_inputs", "no input is blank", columns.VISIBLE_INPUT_CHARACTERS, 1, None)


@expectation("no_blank_targets")
def no_blank_targets(dataset: DatasetSpec) -> Rule:
    return _between("no_blank_targets", "no target is blank, nor any further one", columns.BLANK_TARGETS, None, 0)


@expectation("choice_count")
def choice_count(
    dataset: DatasetSpec, *, equals: Count | None = None, at_least: Count | None = None, at_most: Count | None = None
) -> Rule:
    bounds = _bounds(equals, at_least, at_most)
    return _between("choice_count", f"every sample has {bounds} choices", columns.CHOICES, bounds.low, bounds.high)


@expectation("target_is_a_choice")
def target_is_a_choice(dataset: DatasetSpec) -> Rule:
    """Stricter than `always`: a sample without choices breaks it too."""
    what = "every sample has choices, and its targets are among their labels"
    return _between("target_is_a_choice", what, columns.FOREIGN_TARGETS, None, 0)


@expectation("language")
def language(
    dataset: DatasetSpec, *, is_: Annotated[Literal["zh", "en"], Field(alias="is")], at_least: Fraction = 0.9
) -> Rule:
    """zh: the input holds a Chinese character. en: at least half of the input's letters are Latin."""
    share = f"at least {at_least:.0%} of inputs"
    if is_ == "zh":
        return _between("language", f"{share} hold Chinese characters", columns.CJK_CHARACTERS, 1, None, at_least)
    return _between("language", f"{share} are mostly in Latin letters", columns.LATIN_SHARE, 0.5, None, at_least)


@expectation("input_length")
def input_length(dataset: DatasetSpec, *, at_most: Count) -> Rule:
    what = f"no input is longer than {at_most:,} characters"
    return _between("input_length", what, columns.INPUT_CHARACTERS, None, at_most)


@expectation("target_pattern")
def target_pattern(dataset: DatasetSpec, *, pattern: str) -> Rule:
    """`pattern` is a Python regular expression that every target matches whole."""
    try:
        column = columns.targets_unlike(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return _between("target_pattern", f"every target matches {pattern!r}", column, None, 0)
