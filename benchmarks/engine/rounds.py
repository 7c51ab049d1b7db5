"""Sides run in turns, and the table of what they took."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from cpu import Cost, measure

__all__ = ["OURS", "Cost", "alternate", "measure", "table"]

OURS = "llm-eval"


def alternate(sides: Mapping[str, Callable[[], Cost]], rounds: int, *, warm_up: bool = False) -> dict[str, list[Cost]]:
    """Costs of each side, one a round, every other round backwards. warm_up: a round before that is not counted."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for name in sides if warm_up else ():
        print(f"  not counted: {name:24} {sides[name]().cpu_seconds:.2f} cpu s", file=sys.stderr, flush=True)
    for number in range(rounds):
        for name in sides if number % 2 == 0 else reversed(sides):
            cost = sides[name]()
            costs[name].append(cost)
            shown = f"cpu {cost.cpu_seconds:.2f} s, wall {cost.wall_seconds:.2f} s, peak {cost.peak_mib:.0f} MiB"
            print(f"  round {number + 1} of {rounds}: {name:24} {shown}", file=sys.stderr, flush=True)
    return costs


def table(costs: Mapping[str, Sequence[Cost]]) -> list[str]:
    """Min, median and max of each side; then what each peer took for one of ours: rounds' ratios and their median."""
    lines = [f"{'min / median / max':24} {'cpu s':>22} {'wall s':>22} {'peak MiB':>22}"]
    for name, runs in costs.items():
        columns = [_spread(values, 0 if i == 2 else 2) for i, values in enumerate(zip(*runs, strict=True))]
        lines.append(f"{name:24} " + " ".join(f"{c:>22}" for c in columns))
    for name, runs in costs.items():
        if name == OURS:
            continue
        pairs = list(zip(runs, costs[OURS], strict=True))
        cpu = [theirs.cpu_seconds / ours.cpu_seconds for theirs, ours in pairs]
        wall = [theirs.wall_seconds / ours.wall_seconds for theirs, ours in pairs]
        lines.append(f"{name} / {OURS}: cpu x{statistics.median(cpu):.2f} (rounds: {_list(cpu)}), "
                     f"wall x{statistics.median(wall):.2f} (rounds: {_list(wall)})")  # fmt: skip
    return lines


def _spread(values: Sequence[float], digits: int) -> str:
    return " / ".join(f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))


def _list(ratios: Sequence[float]) -> str:
    return ", ".join(f"{r:.2f}" for r in ratios)
