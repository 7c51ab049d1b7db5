"""A round as people read it: what was answered, who won, how far people and judges agree. Escaped, nothing loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from llm_eval import layout, storage
from llm_eval.errors import UnknownName
from llm_eval.human.publish import Outcome, publish
from llm_eval.human.records import AgreementRow
from llm_eval.human.rounds import Round
from llm_eval.reporting.figures import interval, written
from llm_eval.reporting.grid import aligned, escaped, markdown
from llm_eval.reporting.leaderboard import printable
from llm_eval.reporting.page import pages
from llm_eval.results import reference

STANDINGS = ("dataset", "model", "metric", "value", "95% interval", "samples", "unanswered")
AGREEMENT = ("dataset", "rater", "with", "statistic", "value", "95% interval", "items", "left out", "")
LEFT = {STANDINGS: 3, AGREEMENT: 4}


def report(root: str, made: Round) -> Outcome:
    """Publish the round with the answers there are by now, and write agreement.{json,md,html} into its folder."""
    outcome = publish(root, made)
    for name in ("md", "html", "json"):  # json last: what was cut short is written again
        text = render(made, outcome, name)
        storage.write_bytes(layout.join(made.address, f"agreement.{name}"), text.encode() + b"\n")
    return outcome


def render(made: Round, outcome: Outcome, format: str) -> str:
    """As table, md, html or json, without a newline at its end. Raises UnknownName for another format."""
    formats = {"table": _table, "md": _markdown, "html": _html, "json": _json}
    if format not in formats:
        raise UnknownName("format", format, formats)
    return formats[format](made, outcome)


def _title(made: Round) -> str:
    return f"{made.suite}/{made.name}: human {made.human.ask.kind}"


def _lead(outcome: Outcome) -> str:
    c = outcome.counts
    said = f"{c.answered:,} answers by {c.raters:,} people, {c.asked:,} were asked for"
    return f"{said}; {c.unanswered:,} of {c.items:,} items are unanswered."


def _sections(outcome: Outcome) -> Iterator[tuple[Sequence[str], list[list[str]]]]:
    if outcome.standings:
        yield STANDINGS, list(_standings(outcome))
    if outcome.agreement:
        yield AGREEMENT, [_agreement(row) for row in outcome.agreement]


def _standings(outcome: Outcome) -> Iterator[list[str]]:
    for label, row in ((standing.label, standing.row) for standing in outcome.standings):
        counted = [f"{row.samples:,}", f"{row.failed:,}"]
        yield [reference(row), label, row.metric, written(row.value, row.unit), interval(row), *counted]


def _agreement(row: AgreementRow) -> list[str]:
    with_ = f"{row.second} ({row.metric})" if row.metric else row.second
    value = "-" if row.value is None else f"{row.value:.3f}"
    around = "" if row.ci_low is None or row.ci_high is None else f"{row.ci_low:.3f} to {row.ci_high:.3f}"
    cells = [row.dataset, row.first, with_, row.statistic, value, around, f"{row.n:,}", f"{row.left_out:,}", row.note]
    return [printable(cell) for cell in cells]


def _notes(outcome: Outcome) -> list[str]:
    notes = [*map(printable, outcome.notes)]
    if outcome.standings:
        notes.append("Values of fractions stand as 0-100; agreement as it is, 1 being full agreement.")
    return notes


def _table(made: Round, outcome: Outcome) -> str:
    lines = [_title(made), _lead(outcome)]
    for head, rows in _sections(outcome):
        lines += ["", *aligned(head, rows, LEFT[tuple(head)])]
    return "\n".join([*lines, "", *_notes(outcome)])


def _markdown(made: Round, outcome: Outcome) -> str:
    lines = [f"## {escaped(_title(made))}", "", _lead(outcome)]
    for head, rows in _sections(outcome):
        lines += ["", *markdown(head, rows, LEFT[tuple(head)])]
    return "\n".join([*lines, "", *(f"- {escaped(note, first=True)}" for note in _notes(outcome))])


def _html(made: Round, outcome: Outcome) -> str:
    sections = [(head, LEFT[tuple(head)], rows) for head, rows in _sections(outcome)]
    page = pages().get_template("human.html")
    return page.render(title=_title(made), lead=_lead(outcome), sections=sections, notes=_notes(outcome))


def _json(made: Round, outcome: Outcome) -> str:
    values = {
        "suite": made.suite,
        "round": made.name,
        "kind": made.human.ask.kind,
        "picked_at": made.picked_at,
        "seed": made.seed,
        "counts": outcome.counts._asdict(),
        "values": [
            {"model": one.label, "dataset": reference(one.row), **_figures(one.row)} for one in outcome.standings
        ],
        "agreement": [asdict(row) for row in outcome.agreement],
        "notes": list(outcome.notes),
    }
    return json.dumps(values, ensure_ascii=False, indent=2)


def _figures(row: object) -> dict[str, object]:
    names = ("metric", "unit", "value", "stderr", "ci_low", "ci_high", "samples", "scored", "failed")
    return {name: getattr(row, name) for name in names}
