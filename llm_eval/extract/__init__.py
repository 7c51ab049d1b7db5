"""Finding the answer in what a model wrote, with an explicit outcome: answered, no answer, or ambiguous.

An extractor is one function in one file of this folder:

    @extractor("last_number", version=1)
    def last_number(text: str, sample: Sample, *, stop_at: str | None = None) -> Extraction:
        ...
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from llm_eval.errors import InvalidData
from llm_eval.records import Sample
from llm_eval.registry import Registry, check_options
from llm_eval.specs import NamedCall

Outcome = Literal["answered", "no_answer", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in one reply: `answer` only if answered; `explanation` names the candidates if ambiguous."""

    outcome: Outcome
    answer: str | None = None
    explanation: str = ""

    @classmethod
    def of(cls, answer: str | None) -> Extraction:
        """Answered, unless there is nothing or only blanks. The answer keeps its blanks."""
        return cls("answered", answer) if answer and not answer.isspace() else NO_ANSWER


NO_ANSWER = Extraction("no_answer")


@dataclass(frozen=True, slots=True)
class Extractor:
    """A registered extractor.

    function: (text, sample, **options). It never raises because of what the text says.
    version: raise it when the same text would give another answer; it is part of the scores' fingerprint.
    """

    name: str
    function: Callable[..., Extraction]
    version: int

    def check_options(self, options: Mapping[str, Any], where: str) -> None:
        """Raises InvalidSpec for options that do not fit the function; `where` says who asked for them.

        The function also meets an empty reply, so that a pattern that does not compile is found when a run is planned.
        """
        check_options(f"extractor {self.name!r}", self.function, options, where)
        self.function("", _PROBE, **options)


_PROBE = Sample("probe", "", "", targets=("A",), choices=("yes", "no"))
_MODULES = ("choices", "opencompass", "numbers", "marked", "plain")

EXTRACTORS: Registry[Extractor] = Registry("extractor")


def extractor(name: str, *, version: int) -> Callable[[Callable[..., Extraction]], Callable[..., Extraction]]:
    """Register the decorated function as extractor `name`."""

    def add(function: Callable[..., Extraction]) -> Callable[..., Extraction]:
        EXTRACTORS.add(name, Extractor(name, function, version))
        return function

    return add


def get_extractor(name: str, where: str = "") -> Extractor:
    """The extractor called `name`; imports this folder's files on first use. Raises UnknownName."""
    _load()
    return EXTRACTORS.get(name, where)


@cache
def _load() -> None:
    for module in _MODULES:
        importlib.import_module(f"{__name__}.{module}")


def check_chain(chain: Sequence[NamedCall], where: str) -> None:
    """Raises InputError if the chain names an unknown extractor, or options that do not fit it."""
    for call in chain:
        get_extractor(call.name, where).check_options(call.options, where)


def extract(text: str, sample: Sample, chain: Sequence[NamedCall]) -> Extraction:
    """What the first extractor of the chain that answers finds; its name is the explanation.

    If none answers: the first ambiguous one if there was any, else no answer. Reasoning is not mined: text up to the
    last `</think>` is dropped, and a `<think>` that never ends (a reply cut off in mid-thought) holds no answer.
    """
    reply = text.rpartition("</think>")[2]
    if "<think>" in reply:
        return Extraction("no_answer", explanation="reasoning was cut off before its end")
    outcome = NO_ANSWER
    for call in chain:
        found = get_extractor(call.name).function(reply, sample, **call.options)
        if found.outcome == "answered":
            return Extraction("answered", found.answer, found.explanation or call.name)
        if outcome.outcome != "ambiguous" and (found.outcome == "ambiguous" or found.explanation):
            outcome = found
    return outcome


def labels_of(sample: Sample, asker: str) -> str:
    """The labels of a sample's choices as one string, "ABCD". Raises InvalidData if it has none."""
    if not sample.choices:
        raise InvalidData(
            f"sample {sample.id!r} has no choices, and extractor {asker!r} looks for a choice's letter. "
            "Give the dataset `fields.choices`, or use another extractor."
        )
    return "".join(sample.labels)
