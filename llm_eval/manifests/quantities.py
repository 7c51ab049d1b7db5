"""Amounts as Kubernetes writes them: `500m` of a CPU, `24Gi` of memory.

Source: k8s.io/apimachinery/pkg/api/resource/quantity.go, the grammar in its documentation.
"""

from __future__ import annotations

import re
from fractions import Fraction

from llm_eval.errors import InputError

BINARY = {suffix: Fraction(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}
DECIMAL = {
    suffix: Fraction(1000) ** power
    for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
}
SUFFIXES = BINARY | DECIMAL
# An exponent comes before the suffix E: 1E3 is a thousand, 1E an exabyte.
QUANTITY = re.compile(
    r"(?P<number>[+-]?(\d+\.?\d*|\.\d+))([eE](?P<exponent>[+-]?\d{1,2})|(?P<suffix>[A-Za-z]*))", re.ASCII
)


class InvalidQuantity(InputError):
    pass


def amount(value: object) -> Fraction:
    """The exact number. YAML's own numbers count, as they do for Kubernetes.

    Raises InvalidQuantity, which names the value and what is allowed.
    """
    written = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    match = QUANTITY.fullmatch(written)
    if match is None or (match["suffix"] or "") not in SUFFIXES:
        raise InvalidQuantity(
            f"{value!r} is no quantity. Allowed: a number, with one of {' '.join(BINARY)} (powers of 1024), "
            f"{' '.join(filter(None, DECIMAL))} (powers of 1000) or an exponent such as e3 behind it"
        )
    factor = Fraction(10) ** int(match["exponent"]) if match["exponent"] else SUFFIXES[match["suffix"]]
    return Fraction(match["number"]) * factor
