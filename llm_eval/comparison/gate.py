"""The gate: does a checkpoint's report stop it?"""

from __future__ import annotations

from llm_eval.comparison.checkpoint import CheckpointReport, GateCheck, Row
from llm_eval.errors import InputError
from llm_eval.specs import Gate


def gate(report: CheckpointReport, spec: Gate) -> list[str]:
    """One reason for each dataset that stops the checkpoint, [] if none does.

    A dataset does where the real drop is greater than `max_drop` with the confidence asked for, over all of the
    report's datasets together: if none has really lost more than that, the chance of any reason is at most
    1 - confidence.
    Raises InputError for a report that was made with another gate.
    """
    if report.gate != spec:
        raise InputError(
            f"the report of {report.model}@{report.checkpoint} on suite {report.suite!r} was made with another gate "
            f"({_shown(report.gate)}) than asked for ({_shown(spec)}): make the report again"
        )
    checks = [(row, row.gate) for row in report.rows if row.gate is not None]
    return [_reason(row, check, spec, len(checks)) for row, check in checks if check.p_holm < 1 - spec.confidence]


def _reason(row: Row, check: GateCheck, spec: Gate, family: int) -> str:
    change = check.change
    if row.unit == "fraction":
        size = f"{100 * abs(change.difference):.2f} points {'lower' if row.higher_is_better else 'higher'}"
        values = f"{100 * change.before:.2f} → {100 * change.after:.2f}"
        allowed = f"{100 * spec.max_drop:g} points"
    else:
        size = f"{abs(change.difference / change.before):.1%} {'lower' if row.higher_is_better else 'higher'}"
        values = f"{change.before:.4g} → {change.after:.4g}"
        allowed = f"{100 * spec.max_drop:g}%"
    luck = f", the best of {check.candidates}" if check.candidates > 1 else ""
    holm = f", corrected for {family} datasets" if family > 1 else ""
    return (
        f"{row.dataset}: {row.metric} is {size} than at {change.checkpoint}{luck} ({values}); allowed: {allowed} "
        f"(p {check.p_holm:.2g}{holm})"
    )


def _shown(spec: Gate | None) -> str:
    return "none" if spec is None else ", ".join(f"{k}: {v}" for k, v in spec.model_dump().items())
