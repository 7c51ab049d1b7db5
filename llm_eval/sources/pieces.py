"""What every kind of source hands over."""

from __future__ import annotations

from typing import Any, NamedTuple

Row = dict[str, Any]


class Piece(NamedTuple):
    """Rows of one file or configuration, in its order; `subset` is "" where it is not one subset's own."""

    subset: str
    rows: list[Row]
