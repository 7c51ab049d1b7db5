"""Is a dataset what its YAML says it is? Checked by Great Expectations before any model is asked.

`rules` turns the names in a dataset's `expectations` into rules, without importing Great Expectations; `engine`, the
one file that imports it, tries them on the samples. `rules.always` holds what every dataset must keep, named or not.
"""

from __future__ import annotations

from collections.abc import Sequence

from llm_eval.expectations.rules import EXPECTATIONS, Rule, always, rules_of
from llm_eval.expectations.validation import Check, Validation
from llm_eval.records import Sample
from llm_eval.specs import DatasetSpec

__all__ = ["EXPECTATIONS", "Check", "Rule", "Validation", "always", "check_names", "rules_of", "validate"]


def check_names(dataset: DatasetSpec) -> None:
    """Raises UnknownName or InvalidSpec for an expectation, an option or a value that does not exist. Light."""
    rules_of(dataset)


def validate(samples: Sequence[Sample], dataset: DatasetSpec) -> Validation:
    """What every rule of the dataset found, those of `always` first. Raises as `check_names` does."""
    rules = rules_of(dataset)
    from llm_eval.expectations.engine import try_rules

    return try_rules(rules, samples, dataset)
