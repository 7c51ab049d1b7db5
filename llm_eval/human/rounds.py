"""A round on disk: {root}/human/{suite}/{round}/.

round.json       what was asked, of whom, picked by which seed; written last, so that a round is there whole or not
items.parquet    what raters see; key.parquet: what they do not (which model, which run, which sample)
answers-*.parquet    one file for each answer from Airflow, or for each imported sheet
agreement.{json,md,html}    what `report` made of them
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llm_eval import layout, storage, tables
from llm_eval.catalog import parse
from llm_eval.errors import InputError, StorageError
from llm_eval.fingerprint import fingerprint, slug
from llm_eval.human.picking import PickedItems, pick
from llm_eval.human.pool import candidates
from llm_eval.human.records import Answer, Item, Key
from llm_eval.settings import Settings
from llm_eval.specs import Human, SuiteSpec

MANIFEST = "round.json"


@dataclass(frozen=True, slots=True)
class Round:
    """address: its folder. notes: what could not be picked as asked."""

    address: str
    suite: str
    name: str
    human: Human
    seed: str
    picked_at: str
    notes: tuple[str, ...]

    @property
    def items(self) -> list[Item]:
        return tables.read(layout.join(self.address, "items.parquet"), Item)

    @property
    def keys(self) -> list[Key]:
        return tables.read(layout.join(self.address, "key.parquet"), Key)


def start(settings: Settings, suite: SuiteSpec, name: str, seed: str, now: datetime) -> Round:
    """A new round of the suite; the same one again where it is there already, as when a task is tried again.

    seed: decides what is picked and how it is shuffled; whoever knows it could tell which side is whose.
    Raises InputError where nothing can be asked.
    """
    human = asked_of(suite)
    address = layout.human_round(settings.root, suite.name, name)
    if storage.exists(layout.join(address, MANIFEST)):
        return read(address)
    found, missing = candidates(settings, suite, human)
    if not found:
        raise InputError(f"suite {suite.name!r}: there is no answer to ask people about. {'; '.join(missing)}")
    picked = pick(found, human, seed)
    made = Round(address, suite.name, name, human, seed, now.isoformat(timespec="seconds"), (*missing, *picked.notes))
    _write(made, picked)
    return made


def asked_of(suite: SuiteSpec) -> Human:
    """Raises InputError for a suite that asks people nothing."""
    if suite.human is None:
        raise InputError(
            f"suite {suite.name!r} asks people nothing. Lines such as `human: {{ask: {{kind: preference}}}}` in its "
            "YAML say what to ask."
        )
    return suite.human


def new_name(suite: SuiteSpec, now: datetime) -> str:
    """Of a round that no scheduler names."""
    return f"{now:%Y%m%dT%H%M%S}-{fingerprint(suite.name, now.isoformat())[:4]}"


def name_of(dag_run_id: str) -> str:
    """Of the round that a DAG run stands for."""
    return slug(dag_run_id)


def users_of(human: Human, position: int, rater: int) -> tuple[str, ...]:
    """Who may answer an item as its `rater`-th rater, from 1: one user where there are several raters, in turn, so that
    nobody answers twice. Empty: anybody."""
    if human.raters == 1:
        return human.users
    return (human.users[(position + rater) % len(human.users)],)


def _write(made: Round, picked: PickedItems) -> None:
    tables.write(layout.join(made.address, "key.parquet"), Key, picked.keys)
    tables.write(layout.join(made.address, "items.parquet"), Item, picked.items)
    manifest = {
        "suite": made.suite,
        "round": made.name,
        "human": made.human.model_dump(mode="json"),
        "seed": made.seed,
        "picked_at": made.picked_at,
        "notes": list(made.notes),
        "items": len(picked.items),
    }
    storage.write_json(layout.join(made.address, MANIFEST), manifest)


def read(address: str) -> Round:
    """Raises InputError if there is no such round."""
    manifest = layout.join(address, MANIFEST)
    if not storage.exists(manifest):
        raise InputError(f"{manifest}: there is no such round. `llm-eval human list` shows those there are.")
    values: dict[str, Any] = storage.read_json(manifest)
    try:
        human = parse(Human, values["human"], manifest)
        return Round(
            address,
            values["suite"],
            values["round"],
            human,
            values["seed"],
            values["picked_at"],
            tuple(values["notes"]),
        )
    except KeyError as error:
        raise StorageError(f"{manifest}: {error} is missing: written by another version, or edited") from error


def every(root: str, suite: str | None = None) -> list[Round]:
    """All rounds under the root, by suite, oldest first."""
    suites = [suite] if suite else [_last(uri) for uri in storage.files(layout.join(root, "human"))]
    folders = [uri for name in suites for uri in storage.files(layout.join(root, "human", name))]
    there = [read(uri) for uri in folders if storage.exists(layout.join(uri, MANIFEST))]
    return sorted(there, key=lambda each: (each.suite, each.picked_at, each.name))


def find(root: str, name: str) -> Round:
    """The round that `SUITE/ROUND` names, or the newest one of `SUITE`. Raises InputError."""
    suite, _, one = name.strip("/").partition("/")
    if one:
        return read(layout.human_round(root, suite, one))
    known = every(root, suite)
    if not known:
        raise InputError(
            f"suite {suite!r} has no round under {root} yet: `llm-eval human export {suite}`, or its DAG, starts one"
        )
    return known[-1]


def add_answers(made: Round, label: str, answers: Iterable[Answer]) -> str:
    """Write answers beside those there are, in a file of their own; the same label again replaces it."""
    address = layout.join(made.address, f"answers-{slug(label)}.parquet")
    tables.write(address, Answer, answers, into_existing=True)
    return address


def answers_of(made: Round) -> list[Answer]:
    """One answer of each rater to each item, the last one recorded, skipped items too; by item and rater."""
    files = [uri for uri in storage.files(made.address, ".parquet") if _last(uri).startswith("answers-")]
    latest: dict[tuple[str, str], Answer] = {}
    for answer in tables.read_all(files, Answer):
        key = answer.item_id, answer.rater
        if key not in latest or answer.recorded_at >= latest[key].recorded_at:
            latest[key] = answer
    return [latest[key] for key in sorted(latest)]


def _last(uri: str) -> str:
    return uri.rstrip("/").rsplit("/", 1)[-1]
