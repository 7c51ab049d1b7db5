"""Raw rows become samples: `Fields` templates over a row's columns, ids that stay the same everywhere.

Values stand exactly as the file has them, blanks and line ends included: the benchmarks' own code puts them into the
prompt unstripped (hendrycks/test, C-Eval, CMMLU, and OpenCompass after them), and a stripped prompt is another prompt.
A dataset that wants it otherwise says `| trim` in its templates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llm_eval import templates
from llm_eval.errors import InvalidData, InvalidSpec
from llm_eval.fingerprint import fingerprint, sha256_hex
from llm_eval.records import Sample
from llm_eval.specs import DatasetSpec, Fields

MAX_CHOICES = 26  # labels are single letters
_UNSAFE = re.compile(r"[^\w.-]")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one split as the source has them, and the templates that read them.

    `rows` are (subset, column → value), all rows of a subset in the file's order; the subset is "" where there is none.
    """

    fields: Fields
    rows: tuple[tuple[str, dict[str, Any]], ...] = ()

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def first_of_each_subset(self, count: int | None) -> Rows:
        """The first `count` rows of each subset; all of them if count is None."""
        if count is None:
            return self
        seen: Counter[str] = Counter()
        kept = []
        for subset, row in self.rows:
            seen[subset] += 1
            if seen[subset] <= count:
                kept.append((subset, row))
        return Rows(self.fields, tuple(kept))


def to_samples(dataset: DatasetSpec, rows: Rows) -> list[Sample]:
    """One sample per row, in order.

    An id of the row's own is used as it is, even twice: refusing repeats is the validate stage's business. Without one
    the id is a hash of subset, input and choices, and the second of two equal questions gets "-2".
    Raises InvalidSpec, naming dataset, subset and row, for a template that fails; InvalidData for over 26 choices.
    """
    places: Counter[str] = Counter()
    repeats: Counter[str] = Counter()
    samples = []
    for subset, row in rows:
        place = places[subset]
        places[subset] += 1
        try:
            sample = _sample(dataset, rows.fields, subset, place, row)
        except (InvalidSpec, InvalidData) as error:
            within = f", subset {subset!r}" if subset else ""
            raise type(error)(f"dataset {dataset.name!r}{within}, row {place} (from 0): {error}") from error
        if rows.fields.id is None:
            repeats[sample.id] += 1
            if (nth := repeats[sample.id]) > 1:
                sample = replace(sample, id=f"{sample.id}-{nth}")
        samples.append(sample)
    return samples


def _sample(dataset: DatasetSpec, fields: Fields, subset: str, place: int, row: Mapping[str, Any]) -> Sample:
    title = dataset.subsets.get(subset, subset)
    names = {**row, "columns": row, "subset": subset, "subset_title": title, "row": place}
    text = templates.render(fields.input, names)
    choices = _values(fields.choices, names)
    if len(choices) > MAX_CHOICES:
        raise InvalidData(f"{len(choices)} choices; there are labels for at most {MAX_CHOICES}")
    own = fingerprint(subset, text, choices) if fields.id is None else templates.render(fields.id, names)
    return Sample(
        id=sample_id(subset, own),
        subset=subset,
        input=text,
        follow_ups=_values(fields.follow_ups, names),
        targets=_values(fields.targets, names),
        choices=choices,
        metadata={key: templates.render(source, names) for key, source in fields.metadata.items()},
    )


def _values(source: str | tuple[str, ...], names: Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(source, str):
        return templates.render_list(source, names)
    return tuple(templates.render(s, names) for s in source)


def sample_id(subset: str, own: str) -> str:
    """The id of the row that calls itself `own` within its subset."""
    return _safe(f"{subset}-{own}" if subset else own)


def _safe(text: str) -> str:
    """`text` if it has only letters, digits and `._-`; else those, and a hash that keeps different ids different."""
    safe = _UNSAFE.sub("-", text)
    return text if safe == text else f"{safe}-{sha256_hex(text.encode())[:8]}"
