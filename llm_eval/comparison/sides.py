"""What `llm-eval compare A B` is asked to compare: runs, or models with all that they were evaluated on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from llm_eval import layout, results
from llm_eval.catalog import split_reference
from llm_eval.comparison.runs import Comparison, compare, measured, named
from llm_eval.errors import InputError
from llm_eval.paired import holm
from llm_eval.records import Result


@dataclass(frozen=True, slots=True)
class Side:
    """One headline row per dataset reference, all under one root."""

    label: str
    root: str
    headlines: Mapping[str, Result]


@dataclass(frozen=True, slots=True)
class Family:
    """All that A and B have in common. p_holm: corrected over `comparisons`, in their order.

    refused: dataset → why its two runs cannot be compared. alone: datasets that only one side has.
    """

    first: Side
    second: Side
    comparisons: tuple[Comparison, ...]
    p_holm: tuple[float, ...]
    refused: Mapping[str, str]
    alone: tuple[str, ...]
    confidence: float


def side(root: str, text: str) -> Side:
    """The runs that `text` stands for: MODEL (its newest checkpoint), MODEL@CHECKPOINT, a run's id or its address.

    Of a model, the runs that its leaderboard shows: the newest of each dataset, a full one before a limited one. Raises
    InputError where nothing is published under that name.
    """
    if "/runs/" in text:
        return _of_address(text)
    model, at, checkpoint = text.partition("@")
    rows = results.summary(root, models=(model,)) if model else []
    if rows and at:
        known = sorted({row.checkpoint for row in rows if row.checkpoint})
        rows = [row for row in rows if row.checkpoint == checkpoint]
        if not rows:
            shown = f"Evaluated: {', '.join(known)}." if known else "It was evaluated without checkpoints."
            raise InputError(f"{text!r}: checkpoint {checkpoint!r} of model {model!r} has no result. {shown}")
        return _side(text, root, results.chosen(rows))
    if rows:
        newest = results.newest_checkpoints(rows)[model]
        label = f"{model}@{newest}" if newest else model
        return _side(label, root, results.chosen([row for row in rows if row.checkpoint == newest]))
    if found := results.run(root, text):
        return _side(text, root, found)
    raise InputError(
        f"{text!r} is no model, MODEL@CHECKPOINT or run id with results under {root}, and no run's address "
        "(ROOT/runs/MODEL/DATASET/RUN_ID). `llm-eval report --format json` lists what there is."
    )


def _of_address(text: str) -> Side:
    root = layout.root_of(text)
    model, dataset, run_id = text.rstrip("/").removesuffix("/run.json").split("/")[-3:]
    rows = [r for r in results.run(root, run_id) if (r.model, results.reference(r)) == (model, dataset)]
    if not rows:
        raise InputError(f"{text}: this run has not published results. `llm-eval publish` does, once it is scored")
    return _side(run_id, root, rows)


def _side(label: str, root: str, rows: Sequence[Result]) -> Side:
    headlines: dict[str, Result] = {}
    for row in (r for r in rows if r.headline):
        other = headlines.setdefault(results.reference(row), row)
        if other is not row:
            addresses = [layout.run_uri(root, r.model, results.reference(r), r.run_id) for r in (other, row)]
            raise InputError(f"{label!r} stands for several runs; name one by its address: {' or '.join(addresses)}")
    return Side(label, root, headlines)


def compare_sides(first: Side, second: Side, datasets: Collection[str], confidence: float) -> Family:
    """Every dataset that both have, by name; only `datasets` where any are named (a bare name stands for variants too).

    Raises InputError if there is none, or if none of them can be compared.
    """
    every = first.headlines.keys() | second.headlines.keys()
    wanted = {r for r in every if not datasets or {r, split_reference(r)[0]} & {*datasets}}
    common = sorted(wanted & first.headlines.keys() & second.headlines.keys())
    if not common:
        raise InputError(
            f"{first.label} and {second.label} have no dataset in common"
            + (f" among {', '.join(sorted(datasets))}" if datasets else "")
            + "".join(f". {s.label}: {', '.join(sorted(s.headlines))}" for s in (first, second))
        )
    found, refused = [], {}
    for reference in common:
        one, other = first.headlines[reference], second.headlines[reference]
        try:
            if (one.run_id, one.model) == (other.run_id, other.model):
                raise InputError(f"{named(one)} is compared with itself")
            found.append(compare(measured(first.root, one), measured(second.root, other), confidence))
        except InputError as error:
            refused[reference] = str(error)
    if not found:
        raise InputError("\n".join(refused.values()))
    p_holm = tuple(holm([comparison.difference.p_value for comparison in found]))
    return Family(first, second, tuple(found), p_holm, refused, tuple(sorted(wanted - {*common})), confidence)
