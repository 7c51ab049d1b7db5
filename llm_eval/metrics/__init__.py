"""Metrics: functions of (answer, sample) or (response, sample), one registry, loaded on first use.

A metric is one function in one file of this folder:

    @metric("exact_match", interval="wilson")
    def exact_match(answer: str, sample: Sample, *, ignore_case: bool = True) -> Measure:
        ...
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm_eval.errors import InvalidSpec
from llm_eval.records import RequestKind, Sample
from llm_eval.registry import Registry

Interval = Literal["wilson", "mean", "bootstrap"]
Unit = Literal["fraction", "perplexity", "bits_per_byte"]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a metric says of one response.

    `value` in the metric's unit. `statistics`: for corpus metrics, the numbers whose sums over samples `Metric.corpus`
    turns into the corpus value; empty otherwise.
    """

    value: float
    statistics: tuple[float, ...] = ()
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """A registered metric.

    function: (answer: str, sample, **options) for kind generate; (response, sample, **options) for the other kinds.
    interval: wilson for values that are 0 or 1, mean for other averages, bootstrap for corpus metrics.
    corpus: from summed statistics to the value, None where the value is the mean over samples.
    no_answer: what a response without an answer is worth; None where that cannot happen (likelihoods).
    version: raise it when the same input would get another value; it is part of the scores' fingerprint.
    """

    name: str
    function: Callable[..., Measure]
    kinds: frozenset[RequestKind]
    interval: Interval
    unit: Unit
    higher_is_better: bool
    corpus: Callable[[Sequence[float]], float] | None
    no_answer: Callable[[Sample], Measure] | None
    version: int

    def check_options(self, options: Mapping[str, Any], where: str) -> None:
        """Raises InvalidSpec for an option the function does not have."""
        known = [p.name for p in inspect.signature(self.function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        for name in options:
            if name not in known:
                raise InvalidSpec(
                    f"{where}: metric {self.name!r} has no option {name!r}. Options: {', '.join(known) or 'none'}."
                )


METRICS: Registry[Metric] = Registry("metric")
_MODULES = ("match", "text", "likelihood")


def metric(
    name: str,
    *,
    kinds: frozenset[RequestKind] = frozenset({"generate"}),
    interval: Interval = "mean",
    unit: Unit = "fraction",
    higher_is_better: bool = True,
    corpus: Callable[[Sequence[float]], float] | None = None,
    no_answer: Callable[[Sample], Measure] | None = lambda _: Measure(0.0),
    version: int = 1,
) -> Callable[[Callable[..., Measure]], Callable[..., Measure]]:
    """Register the decorated function as metric `name`."""

    def add(function: Callable[..., Measure]) -> Callable[..., Measure]:
        METRICS.add(name, Metric(name, function, kinds, interval, unit, higher_is_better, corpus, no_answer, version))
        return function

    return add


def get_metric(name: str, where: str = "") -> Metric:
    """The metric called `name`; imports this folder's files on first use. Raises UnknownName."""
    for module in _MODULES:
        importlib.import_module(f"{__name__}.{module}")
    return METRICS.get(name, where)
