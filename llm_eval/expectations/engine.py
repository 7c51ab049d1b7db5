"""Tries rules on samples with Great Expectations: ephemeral context, nothing written, nothing sent."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_eval import garbage, importing
from llm_eval.errors import RunFailed
from llm_eval.expectations import columns
from llm_eval.expectations.rules import Rule, subset_rows
from llm_eval.expectations.validation import MOST_EXAMPLES, Check, Validation
from llm_eval.records import Sample
from llm_eval.specs import DatasetSpec

if TYPE_CHECKING:
    from pandas import DataFrame

# More than are shown: an id that occurs often fills the list alone.
_LISTED = 200
_SHOWN_CHARACTERS = 200


def try_rules(rules: Sequence[Rule], samples: Sequence[Sample], dataset: DatasetSpec) -> Validation:
    """One check per rule, in order. Raises RunFailed if Great Expectations itself breaks."""
    counts = Counter(sample.subset for sample in samples)
    rows = {subset: counts[subset] for subset in sorted({*dataset.subsets, *counts})}
    gx = great_expectations()
    frames = _context(gx).data_sources.pandas_default
    found: dict[int, dict[str, Any]] = {}
    if of_samples := {i: rule for i, rule in enumerate(rules) if rule.about == "samples"}:
        batch = frames.read_dataframe(_samples_frame(samples, of_samples.values()))
        found |= _results(gx, of_samples, batch, columns.ID.name)
    if of_subsets := {i: rule for i, rule in enumerate(rules) if rule.about == "subsets"}:
        found |= _results(gx, of_subsets, frames.read_dataframe(_subsets_frame(rows)), "subset")
    checks = tuple(_check(rule, found[i], rows) for i, rule in enumerate(rules))
    return Validation(
        dataset=dataset.name,
        success=all(check.success for check in checks),
        checks=checks,
        rows=len(samples),
        subsets=rows,
        inputs=_beginnings(samples, {example for check in checks for example in check.examples}),
    )


def _beginnings(samples: Sequence[Sample], ids: Collection[str]) -> dict[str, str]:
    return {s.id: columns.input_text(s)[:_SHOWN_CHARACTERS] for s in reversed(samples) if s.id in ids}


def _samples_frame(samples: Sequence[Sample], rules: Iterable[Rule]) -> DataFrame:
    from pandas import DataFrame

    looked_at = {column.name: column for column in (columns.ID, *(r.column for r in rules if r.column))}
    return DataFrame({name: [column.of(sample) for sample in samples] for name, column in looked_at.items()})


def _subsets_frame(rows: Mapping[str, int]) -> DataFrame:
    from pandas import DataFrame

    pairs = [subset_rows(*pair) for pair in rows.items()]
    return DataFrame({"subset": list(rows), "rows": list(rows.values()), "subset_rows": pairs})


def great_expectations() -> Any:
    """The library, imported in the two thirds of the time that it takes by itself; it reports to nobody."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read on import: it would report to its makers
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # hundreds of lines about itself otherwise
    with warnings.catch_warnings(), garbage.frozen():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports sre_constants
        # Half of its import: extras of its own, and what draws and tests distributions; no rule here needs them.
        with importing.absent("sqlalchemy", "pyspark"), importing.deferred("scipy.stats", "altair"):
            import great_expectations
    return great_expectations


def _context(gx: Any) -> Any:
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    in_memory = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    config = DataContextConfig(
        store_backend_defaults=in_memory, analytics_enabled=False, progress_bars=ProgressBarsConfig(globally=False)
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _results(gx: Any, rules: Mapping[int, Rule], batch: Any, key: str) -> dict[int, dict[str, Any]]:
    """What Great Expectations says of each rule: its `success`, and its result's own entries."""
    expectations = [_expectation(gx.expectations, rule, number) for number, rule in rules.items()]
    listing = {"unexpected_index_column_names": [key], "partial_unexpected_count": _LISTED}
    outcome = batch.validate(
        gx.ExpectationSuite(name="rules", expectations=expectations),
        result_format={"result_format": "SUMMARY", **listing},
    )
    found = {}
    for result in outcome.results:
        number = result.expectation_config.meta["rule"]
        if not result.result:  # only where its own code raised
            raise RunFailed(f"expectation {rules[number].name!r} could not be tried: {result.exception_info}")
        found[number] = {"success": bool(result.success), **result.result}
    return found


def _expectation(classes: Any, rule: Rule, number: int) -> Any:
    column = {"column": rule.column.name} if rule.column else {}
    return getattr(classes, rule.expectation)(**column, **rule.arguments, meta={"rule": number})


def _check(rule: Rule, result: Mapping[str, Any], rows: Mapping[str, int]) -> Check:
    verdict = (rule.name, rule.what, bool(result["success"]))
    if rule.expectation == "ExpectTableRowCountToBeBetween":
        return Check(*verdict, _counted(result["observed_value"], "row"))
    if rule.expectation == "ExpectColumnDistinctValuesToContainSet":
        wrong = [missing.rpartition(": ")[0] for missing in result["partial_missing_list"]][:MOST_EXAMPLES]
        have = ", ".join(f"{subset} has {_counted(rows.get(subset, 0), 'row')}" for subset in wrong)
        return Check(*verdict, f"{result['missing_count']} differ: {have}" if wrong else "all as named", tuple(wrong))
    key = columns.ID.name if rule.about == "samples" else "subset"
    listed = [str(entry[key]) for entry in result["partial_unexpected_index_list"]]
    examples = tuple(dict.fromkeys(listed))[:MOST_EXAMPLES]
    looked_at = _counted(result["element_count"] - result["missing_count"], rule.about.removesuffix("s"))
    if not examples:
        return Check(*verdict, f"holds for {looked_at}")
    such = f"such as {', '.join(map(repr, examples[:3]))}"
    return Check(*verdict, f"{result['unexpected_count']:,} of {looked_at} break it, {such}", examples)


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
