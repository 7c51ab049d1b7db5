"""What validation found: for the log, for programs, and as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One rule tried on the data.

    what: the rule as a sentence. found: what the data says to it. examples: up to ten ids of samples (names of subsets
    for rules about subsets) that break the rule, also where enough others keep it.
    """

    name: str
    what: str
    success: bool
    found: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Validation:
    """All checks of one dataset.

    subsets: rows by subset, also those that are declared and have none. inputs: the beginnings of the inputs of samples
    that the checks name, by id.
    """

    dataset: str
    success: bool
    checks: tuple[Check, ...]
    rows: int
    subsets: Mapping[str, int]
    inputs: Mapping[str, str]

    @property
    def broken(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.success)

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for a JSON file."""
        return {
            "dataset": self.dataset,
            "success": self.success,
            "rows": self.rows,
            "subsets": dict(self.subsets),
            "inputs": dict(self.inputs),
            "checks": [asdict(check) | {"examples": list(check.examples)} for check in self.checks],
        }

    def to_html(self) -> str:
        """A page on its own: no scripts, nothing loaded; whatever comes from the data is escaped."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        pages = Environment(loader=PackageLoader(__package__, ""), autoescape=True, undefined=StrictUndefined)
        return pages.get_template("validation.html").render(validation=self)

    def summary_lines(self) -> Iterator[str]:
        """Lines for a log: one for the whole, then one for each broken rule."""
        kept = len(self.checks) - len(self.broken)
        yield f"{self.dataset}: {self.rows:,} rows, {kept} of {len(self.checks)} rules hold"
        for check in self.broken:
            yield f"BROKEN {check.name} ({check.what}): {check.found}"
