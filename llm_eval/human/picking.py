"""Which samples people are asked about, and how they are shuffled. Pure: same candidates and seed, same round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llm_eval.fingerprint import fingerprint
from llm_eval.human.records import Item, Key, Picked
from llm_eval.specs import Human


@dataclass(frozen=True, slots=True)
class Side:
    """An answer, and whose it is. run: its address, "" for a baseline."""

    model: str
    run: str
    text: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question that people may be asked: about one answer, or which of two is better.

    disagreement: of the LLM judges about it, from 0; 0 where there is no judge.
    """

    dataset: str
    sample_id: str
    subset: str
    question: str
    sides: tuple[Side, ...]
    disagreement: float = 0.0

    @property
    def group(self) -> tuple[str, ...]:
        """What `samples` counts in: the dataset and the models."""
        return self.dataset, *(side.model for side in self.sides)


class PickedItems(NamedTuple):
    items: list[Item]
    keys: list[Key]
    notes: list[str]


def pick(candidates: Sequence[Candidate], human: Human, seed: str) -> PickedItems:
    """The items of a round in the order shown, their key, and a note where they are not as asked for.

    Of each group `human.samples`: those whose hash with the seed is lowest, which for equal questions are the same for
    all models; with `pick: disagreement` those first on which judges disagree most. Half of the pairs of a group are
    shown in each order.
    """
    groups: dict[tuple[str, ...], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.group, []).append(candidate)
    found: list[tuple[str, Candidate, Picked, bool]] = []
    notes = []
    for group, members in groups.items():
        chosen = _chosen(members, human, seed)
        at_random = sum(picked == "random" for _, picked in chosen)
        if human.pick == "disagreement" and at_random:
            notes.append(
                f"{_name(group)}: {at_random} of {len(chosen)} items were picked at random: on no further sample do "
                "LLM judges disagree, or none has judged it"
            )
        if len(chosen) < human.samples:
            notes.append(f"{_name(group)}: only {len(chosen)} samples have answers, of {human.samples} asked for")
        # Shuffled once more: the order of the pick would tell which items are swapped.
        for place, (candidate, picked) in enumerate(
            sorted(chosen, key=lambda each: fingerprint(seed, "sides", each[0].group, each[0].sample_id))
        ):
            item_id = fingerprint(seed, "item", candidate.group, candidate.sample_id)[:12]
            found.append((item_id, candidate, picked, place % 2 == 1))
    found.sort(key=lambda each: each[0])
    items, keys = [], []
    for position, (item_id, candidate, picked, is_swapped) in enumerate(found, start=1):
        sides = candidate.sides[::-1] if is_swapped else candidate.sides
        items.append(Item(item_id, position, candidate.question, tuple(side.text for side in sides)))
        keys.append(
            Key(
                item_id=item_id,
                dataset=candidate.dataset,
                sample_id=candidate.sample_id,
                subset=candidate.subset,
                models=tuple(side.model for side in sides),
                runs=tuple(side.run for side in sides),
                picked=picked,
                disagreement=candidate.disagreement,
            )
        )
    return PickedItems(items, keys, notes)


def is_random(keys: Iterable[Key]) -> bool:
    """Whether figures of these items stand for the whole dataset."""
    return all(key.picked == "random" for key in keys)


def _chosen(members: Sequence[Candidate], human: Human, seed: str) -> list[tuple[Candidate, Picked]]:
    drawn = sorted(members, key=lambda each: fingerprint(seed, "sample", each.dataset, each.sample_id))
    disputed: list[Candidate] = []
    if human.pick == "disagreement":
        disputed = [each for each in drawn if each.disagreement > 0]
        disputed = sorted(disputed, key=lambda each: -each.disagreement)[: human.samples]
    taken = {each.sample_id for each in disputed}
    others = [each for each in drawn if each.sample_id not in taken][: human.samples - len(disputed)]
    return [*((each, "disagreement") for each in disputed), *((each, "random") for each in others)]


def _name(group: tuple[str, ...]) -> str:
    dataset, *models = group
    return f"{dataset}, {' and '.join(models)}"
