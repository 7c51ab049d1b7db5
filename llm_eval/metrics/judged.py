"""Metrics whose values judges give: what they are called, their units, and how samples become one number.

The values of single samples are made in llm_eval/judging/scores.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llm_eval.metrics import METRICS, Measure, Metric, Unit
from llm_eval.statistics import Estimate


def _not_called(*_: object, **__: object) -> Measure:
    raise AssertionError("a judge gives this metric's values")


def _judged(
    name: str,
    *,
    unit: Unit = "fraction",
    higher_is_better: bool = True,
    corpus: Callable[[Sequence[float]], float] | None = None,
    estimate: Callable[[Sequence[Sequence[float]]], Estimate] | None = None,
) -> None:
    metric = Metric(
        name=name,
        function=_not_called,
        kinds=frozenset({"generate"}),
        interval="mean" if corpus is None else "bootstrap",
        unit=unit,
        higher_is_better=higher_is_better,
        corpus=corpus,
        no_answer=None,
        version=1,
        estimate=estimate,
        is_judged=True,
    )
    METRICS.add(name, metric)


def _f1(sums: Sequence[float]) -> float:
    """Harmonic mean of the accuracy over all and over what was attempted: 2 correct / (all + attempted).

    Source: openai/simple-evals, simpleqa_eval.py.
    """
    correct, everything, attempted = sums
    return 2 * correct / (everything + attempted)


def _share(sums: Sequence[float]) -> float:
    wins, losses = sums
    return wins / (wins + losses)


def _length_controlled(statistics: Sequence[Sequence[float]]) -> Estimate:
    """Of sums over a sample's attempts: preference, length of the model's answer, of the baseline's, both in
    characters, and how many attempts."""
    from llm_eval.preferences.length_controlled import Comparison, length_controlled_win_rate

    compared = [
        Comparison(won / count, round(own / count), round(other / count)) for won, own, other, count in statistics
    ]
    return length_controlled_win_rate(compared).win_rate


def _style_controlled(statistics: Sequence[Sequence[float]]) -> Estimate:
    """Of sums over a sample's attempts: games won, games lost, style of the model's answer, of the baseline's (four
    numbers each), and how many attempts."""
    from llm_eval.preferences.battles import Battle
    from llm_eval.preferences.style import Style, style_controlled_win_rates

    model, baseline = "model", "baseline"
    battles, styles = [], {}
    for place, (won, lost, *summed, count) in enumerate(statistics):
        looks = [round(each / count) for each in summed]
        question = str(place)
        battles.append(Battle(question, model, baseline, won / (won + lost), won + lost))
        styles[question, model] = Style(*looks[:4])
        styles[question, baseline] = Style(*looks[4:])
    return style_controlled_win_rates(baseline, battles, styles, centred=False).win_rates[model]


_judged("judged_accuracy")
_judged("judged_accuracy_attempted")
_judged("attempted")
_judged("judged_f1", corpus=_f1)
_judged("cascade_accuracy")
_judged("rating", unit="points")
_judged("win_rate")
_judged("discrete_win_rate")
_judged("length_controlled_win_rate", estimate=_length_controlled)
_judged("style_controlled_win_rate", estimate=_style_controlled)
_judged("consistency")
_judged("first_slot_rate")
_judged("position_bias", higher_is_better=False)
_judged("rank", unit="rank", higher_is_better=False)
# Of two players the Bradley-Terry win rate without a penalty is the share of (weighted) games won.
_judged("bradley_terry", corpus=_share)
