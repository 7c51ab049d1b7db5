"""Published results compared on the same samples: two runs, two models, a checkpoint with older ones.

compare(measured(root, a), measured(root, b))      two runs' headlines
compare_sides(side(root, "A"), side(root, "B"))    what `llm-eval compare A B` shows
build_report(root, suite, model, checkpoint)       a checkpoint and those before it; `gate` judges the report
trends(root, model)                                each dataset's headline over the checkpoints
"""

from __future__ import annotations

from llm_eval.comparison.checkpoint import Change, CheckpointReport, GateCheck, Row, build_report
from llm_eval.comparison.gate import gate
from llm_eval.comparison.history import Trend, history, trends
from llm_eval.comparison.runs import Comparison, Counts, Measured, compare, measured, verdict
from llm_eval.comparison.sides import Family, Side, compare_sides, side

__all__ = [
    "Change",
    "CheckpointReport",
    "Comparison",
    "Counts",
    "Family",
    "GateCheck",
    "Measured",
    "Row",
    "Side",
    "Trend",
    "build_report",
    "compare",
    "compare_sides",
    "gate",
    "history",
    "measured",
    "side",
    "trends",
    "verdict",
]
