"""Metrics: functions of (answer, sample) or (response, sample), one registry, loaded on first use.

A metric is one function in one file of this folder:

    @metric("exact_match", interval="wilson")
    def exact_match(answer: str, sample: Sample, *, ignore_case: bool = True) -> Measure:
        ...
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm_eval.errors import RunFailed
from llm_eval.records import RequestKind
from llm_eval.registry import Registry, check_options
from llm_eval.statistics import Estimate

Interval = Literal["wilson", "mean", "bootstrap"]
Unit = Literal["fraction", "perplexity", "bits_per_byte", "points", "rank"]


class UnusableResponse(RunFailed):
    """A response that cannot be measured through no fault of the model, such as a NaN log-probability: `failed`."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a metric says of one response.

    `value` in the metric's unit. `statistics`: for corpus metrics, the numbers whose sums over samples `Metric.corpus`
    turns into the corpus value; empty otherwise. `answer`: what a metric that reads the response itself found there,
    such as the label of the likeliest choice.
    """

    value: float
    statistics: tuple[float, ...] = ()
    explanation: str = ""
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A registered metric.

    function: (answer: str, sample, **options) for kind generate; (response, sample, **options) for the other kinds.
    interval: wilson for values that are 0 or 1, mean for other averages, bootstrap for corpus metrics.
    corpus: from summed statistics to the value, None where the value is the mean over samples.
    no_answer: (sample, **options): what a response without an answer is worth; None where that cannot happen
    (likelihoods).
    estimate: from the statistics of each sample to the value, where that is no function of their sums; `resamples`
    says how many draws its interval is made of.
    is_judged: its values come from judges (llm_eval/judging), and `function` is never called.
    version: raise it when the same input would get another value; it is part of the scores' fingerprint.
    """

    name: str
    function: Callable[..., Measure]
    kinds: frozenset[RequestKind]
    interval: Interval
    unit: Unit
    higher_is_better: bool
    corpus: Callable[[Sequence[float]], float] | None
    no_answer: Callable[..., Measure] | None
    version: int
    estimate: Callable[..., Estimate] | None = None
    is_judged: bool = False
    worst_and_best: Callable[[Sequence[Sequence[float]]], tuple[Sequence[float], Sequence[float]]] | None = None
    """From the statistics of those that have any to what a failed sample's would be at the worst and at the best, for
    the bounds of a value that is no mean. None: it has no bounds."""
    compared_by: str | None = None
    """The metric, of the same runs, by which two runs are compared; None: this one."""

    @property
    def is_mean(self) -> bool:
        """Whether the value is the mean of the samples' values."""
        return self.corpus is None and self.estimate is None

    def check_options(self, options: Mapping[str, Any], where: str) -> None:
        """Raises InvalidSpec for options that do not fit the function; `where` says who asked for them."""
        check_options(f"metric {self.name!r}", self.function, options, where)


METRICS: Registry[Metric] = Registry("metric")
_MODULES = ("match", "text", "likelihood", "judged")


def metric(
    name: str,
    *,
    kinds: frozenset[RequestKind] = frozenset({"generate"}),
    interval: Interval = "mean",
    unit: Unit = "fraction",
    higher_is_better: bool = True,
    corpus: Callable[[Sequence[float]], float] | None = None,
    no_answer: Callable[..., Measure] | None = lambda _, **options: Measure(0.0),
    version: int = 1,
) -> Callable[[Callable[..., Measure]], Callable[..., Measure]]:
    """Register the decorated function as metric `name`."""

    def add(function: Callable[..., Measure]) -> Callable[..., Measure]:
        METRICS.add(name, Metric(name, function, kinds, interval, unit, higher_is_better, corpus, no_answer, version))
        return function

    return add


def get_metric(name: str, where: str = "") -> Metric:
    """The metric called `name`; imports this folder's files on first use. Raises UnknownName.

    Of judges also `rating:DIMENSION`, and `METRIC@JUDGE`, the value that one of several judges gave.
    """
    for module in _MODULES:
        importlib.import_module(f"{__name__}.{module}")
    return METRICS.get(base_name(name), where)


def base_name(name: str) -> str:
    """What a metric is registered as: without a dimension, a turn or a judge."""
    return name.partition("@")[0].partition(":")[0]
