"""A checkpoint's report as text, Markdown, page and JSON: its values, what changed, what is missing, the gate."""

from __future__ import annotations

from collections.abc import Iterator

from llm_eval.comparison import CheckpointReport, Row, gate
from llm_eval.reporting.comparison import counted, methods_note
from llm_eval.reporting.figures import p_value, signed, signed_interval, value_with_half_width, written
from llm_eval.reporting.grid import aligned, escaped, markdown
from llm_eval.reporting.leaderboard import ABSENT, FAILED, LIMITED, printable

LEFT = 2


def report_text(report: CheckpointReport) -> str:
    """For a terminal or a message, without a newline at its end."""
    table = aligned(_head(report), _cells(report), LEFT) if report.rows else []
    return "\n".join([_title(report), "", *table, *([""] if table else []), *_said(report)])


def report_files(report: CheckpointReport) -> dict[str, bytes]:
    """Name and content of each file of the report."""
    texts = {
        "report.txt": report_text(report),
        "report.md": _as_markdown(report),
        "report.html": _as_html(report),
        "report.json": _as_json(report),
    }
    return {name: text.rstrip("\n").encode() + b"\n" for name, text in texts.items()}


def from_json(data: bytes) -> CheckpointReport:
    """The report that `report.json` was made from."""
    from pydantic import TypeAdapter

    return TypeAdapter(CheckpointReport).validate_json(data)


def _as_json(report: CheckpointReport) -> str:
    from pydantic import TypeAdapter

    return TypeAdapter(CheckpointReport).dump_json(report, indent=2).decode()


def _as_markdown(report: CheckpointReport) -> str:
    table = markdown(_head(report), _cells(report), LEFT) if report.rows else []
    said = [f"- {escaped(note, first=True)}" for note in _said(report)]
    return "\n".join([f"## {escaped(_title(report))}", "", *table, *([""] if table else []), *said])


def _as_html(report: CheckpointReport) -> str:
    from llm_eval.reporting.page import pages

    return (
        pages()
        .get_template("checkpoint.html")
        .render(
            report=report,
            title=_title(report),
            head=_head(report),
            rows=_cells(report),
            gate_text=_gate_line(report),
            reasons=gate(report, report.gate) if report.gate else [],
            notes=list(_notes(report)),
        )
    )


def _title(report: CheckpointReport) -> str:
    return f"{report.model}@{printable(report.checkpoint)} on {report.suite}"


def _head(report: CheckpointReport) -> list[str]:
    interval = f"{100 * report.confidence:g}% interval"
    return ["dataset", "metric", "value", "before", "compared with", "difference", interval, "p", "p (Holm)", ""]


def _cells(report: CheckpointReport) -> list[list[str]]:
    return [_row(row) for row in report.rows]


def _row(row: Row) -> list[str]:
    marked = f"{FAILED if row.failed else ''}{LIMITED if row.sample_limit is not None else ''}"
    head = [row.dataset, row.metric, f"{value_with_half_width(row)}{marked}"]
    change = row.previous
    if change is None:
        return [*head, *(ABSENT for _ in range(6)), ""]
    return [
        *head,
        written(change.before, row.unit),
        printable(change.checkpoint),
        signed(change.difference, row.unit),
        signed_interval(change.ci_low, change.ci_high, row.unit),
        p_value(change.p_value),
        p_value(change.p_holm),
        change.verdict,
    ]


def _said(report: CheckpointReport) -> list[str]:
    """Everything below the table, the most important first."""
    said = [f"Missing: {name} ({why})." for name, why in report.missing.items()]
    if report.gate is not None:
        said += [_gate_line(report), *gate(report, report.gate)]
    return [*said, *_notes(report)]


def _gate_line(report: CheckpointReport) -> str:
    if report.gate is None:
        return ""
    checked = sum(row.gate is not None for row in report.rows)
    rule = f"max_drop {report.gate.max_drop:g} against {report.gate.against}, confidence {report.gate.confidence:g}"
    if checked == 0:
        return f"Gate not applied, there is nothing to compare with ({rule})."
    outcome = "failed" if gate(report, report.gate) else "passed"
    return f"Gate {outcome}, {checked} of {len(report.rows) + len(report.missing)} datasets checked ({rule})."


def _notes(report: CheckpointReport) -> Iterator[str]:
    changes = [(row, row.previous) for row in report.rows if row.previous is not None]
    if any(row.failed for row in report.rows):
        yield f"{FAILED} samples failed through no fault of the model."
    if any(row.sample_limit is not None for row in report.rows):
        yield f"{LIMITED} asked only some of the samples."
    yield from report.notes
    if left_out := [said for row, change in changes if (said := counted(change.counts, row.dataset))]:
        yield f"Left out of the comparison, the first being the older: {'; '.join(left_out)}."
    if macro := [row.dataset for row in report.rows if row.aggregation == "macro"]:
        yield f"Macro, the mean over subsets of their means: {', '.join(macro)}."
    if lower := sorted({row.metric for row in report.rows if not row.higher_is_better}):
        yield f"Lower is better: {', '.join(lower)}."
    if changes:
        yield methods_note({change.method for _, change in changes})
        holm = f", corrected for {len(changes)} datasets" if len(changes) > 1 else ""
        yield f"better, worse: p (Holm) is below {1 - report.confidence:.2g}{holm}."
    yield "Fractions stand as 0-100. After ±: half of the 95% interval."
