"""How numbers are written: fractions as 0-100 with two decimals, other units as they are."""

from __future__ import annotations

import math
from typing import Protocol

from llm_eval.records import Result

_DECIMALS = {"bits_per_byte": 4}


class Published(Protocol):
    """A value with its interval, as a Result has it."""

    @property
    def value(self) -> float: ...
    @property
    def ci_low(self) -> float: ...
    @property
    def ci_high(self) -> float: ...
    @property
    def unit(self) -> str: ...


def scaled(value: float, unit: str) -> float:
    """`value` as reports show it: a fraction times 100."""
    return value * 100 if unit == "fraction" else value


def written(value: float, unit: str) -> str:
    return f"{scaled(value, unit):.{_DECIMALS.get(unit, 2)}f}"


def half_width(result: Published) -> str:
    """Half of the 95% interval, such as "±0.8"; "" where the interval is not finite."""
    width = scaled(result.ci_high - result.ci_low, result.unit) / 2
    return f"±{width:.{_DECIMALS.get(result.unit, 1)}f}" if math.isfinite(width) else ""


def interval(result: Published) -> str:
    """The 95% interval, such as "45.51–47.16"; "" where it is not finite."""
    if not math.isfinite(result.ci_high - result.ci_low):
        return ""
    return f"{written(result.ci_low, result.unit)}–{written(result.ci_high, result.unit)}"


def without_failed(row: Result) -> str:
    """What failed samples mean for the value: that it leaves them out, and between what it would lie with them."""
    if row.bound_low is None or row.bound_high is None:
        return "the value leaves them out"
    between = f"{written(row.bound_low, row.unit)} and {written(row.bound_high, row.unit)}"
    return f"the value leaves them out; with them it would lie between {between}"


def value_with_half_width(result: Published) -> str:
    return f"{written(result.value, result.unit)} {half_width(result)}".rstrip()


def signed(difference: float, unit: str) -> str:
    """A difference with its sign, such as "+2.10"; no sign where it rounds to nothing."""
    text = f"{scaled(difference, unit):+.{_DECIMALS.get(unit, 2)}f}"
    return text if float(text) else text[1:]


def signed_interval(low: float, high: float, unit: str) -> str:
    return f"{signed(low, unit)} to {signed(high, unit)}"


def p_value(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"
