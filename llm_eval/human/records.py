"""What a round consists of. Frozen, plain, one Parquet file type each (see tables.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Picked = Literal["random", "disagreement"]
FIRST, SECOND, TIE = "first", "second", "tie"


@dataclass(frozen=True, slots=True)
class Item:
    """What a rater sees: `items.parquet`. Names no model, run or sample.

    `position` counts from 1. `answers`: one to rate, or two in the order shown.
    """

    id: str
    position: int
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """What a rater does not see: `key.parquet`.

    `models` (name, or name@checkpoint) and `runs` (their addresses, "" for a baseline) are in the order in
    which the answers are shown. `disagreement` of the LLM judges about it, from 0.
    """

    item_id: str
    dataset: str
    sample_id: str
    subset: str
    models: tuple[str, ...]
    runs: tuple[str, ...]
    picked: Picked
    disagreement: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What one rater said of one item: `answers-*.parquet`.

    `answer`: first, second or tie; of a rating the number; None where the rater skipped the item. `source`: "airflow",
    or the name of the imported file. Of two answers of one rater to one item the one recorded last counts.
    """

    item_id: str
    rater: str
    answer: str | None
    comment: str
    answered_at: str
    source: str
    recorded_at: str


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """One published row of `results/agreement`: how far two raters agree on the items of one dataset in one round.

    `first` is "human" (all raters of an item together) or one rater's name; `second` an LLM judge, "panel" for several
    judges together, or another rater. `metric`: the judge's values compared with, None between people. `value` and what
    follows are as of `agreement.ratings.Agreement`. `pick`: agreement on samples picked by disagreement is lower than
    on all.
    """

    suite: str
    round: str
    kind: str
    pick: str
    dataset: str
    first: str
    second: str
    metric: str | None
    statistic: str
    value: float | None
    stderr: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    left_out: int
    note: str
    picked_at: str
