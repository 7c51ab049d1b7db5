"""The command that asks whether a judge can be trusted: judge-agreement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_eval.errors import InputError, MissingSource

if TYPE_CHECKING:
    from llm_eval.agreement.ratings import Agreement
    from llm_eval.reliability import Reliability


def judge_agreement(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A published run's id or address.")],
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="People's labels: csv, tsv, json, jsonl or Parquet.")
    ] = None,
    id: Annotated[str, typer.Option("--id", metavar="COLUMN", help="Of the labels: the sample's id.")] = "id",
    label: Annotated[str, typer.Option("--label", metavar="COLUMN", help="Of the labels: label or number.")] = "label",
    judge: Annotated[str, typer.Option(metavar="JUDGE", help="Which of the run's judges, if it has several.")] = "",
    other_judge: Annotated[str, typer.Option(metavar="JUDGE", help="Compare with this judge instead of people.")] = "",
    other_run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Where the other judge judged the same answers; default: RUN.")
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
) -> None:
    """How far does a judge agree with people, or with another judge?

    Labels are correct, incorrect and not_attempted; win, tie and loss of the model; or numbers, as the judge gives.
    """
    from llm_eval import reliability

    if format not in ("table", "json"):
        raise InputError(f"--format {format!r} is not known here: table or json")
    if (labels is None) == (not other_judge and other_run is None):
        raise InputError("say what the judge is compared with: --labels FILE, or --other-judge and --other-run")
    root = context.obj.settings.root
    row = reliability.judged_run(root, run)
    first = reliability.judge_ratings(root, row, judge)
    if labels is not None:
        if not labels.is_file():
            raise MissingSource(f"--labels {labels}: there is no such file")
        second = reliability.human_ratings(str(labels), labels.read_bytes(), first, id, label)
    else:
        other = row if other_run is None else reliability.judged_run(root, other_run)
        if other.responses_fingerprint != row.responses_fingerprint:
            raise InputError(f"runs {row.run_id} and {other.run_id} hold different answers: nothing can be compared")
        if other is row and other_judge == (judge or first.rater.removeprefix("judge ")):
            raise InputError(f"judge {other_judge!r} agrees with itself; name another one")
        second = reliability.judge_ratings(root, other, other_judge)
    found = reliability.compared(first, second)
    print(json.dumps(_as_json(found), ensure_ascii=False, indent=2) if format == "json" else _as_table(found))


def _as_json(found: Reliability) -> dict[str, object]:
    return {
        "first": found.first,
        "second": found.second,
        "n": found.n,
        "left_out": dict(found.left_out),
        "statistics": {name: statistic._asdict() for name, statistic in found.statistics.items()},
        "confusion": [{"first": a, "second": b, "samples": count} for (a, b), count in sorted(found.confusion.items())],
    }


def _as_table(found: Reliability) -> str:
    lines = [f"{found.first}  and  {found.second}: {found.n} samples rated by both"]
    lines += [f"left out: {count} ({why})" for why, count in found.left_out.items()]
    width = max(map(len, found.statistics))
    lines += ["", *(f"{name:{width}}  {_shown(statistic)}" for name, statistic in found.statistics.items())]
    if found.confusion:
        names = sorted({label for pair in found.confusion for label in pair})
        wide = max(map(len, names))
        lines += ["", f"rows: {found.first}, columns: {found.second}"]
        lines += [" " * wide + "".join(f"  {name:>{wide}}" for name in names)]
        for a in names:
            lines.append(f"{a:>{wide}}" + "".join(f"  {found.confusion.get((a, b), 0):>{wide}}" for b in names))
    return "\n".join(lines)


def _shown(statistic: Agreement) -> str:
    if statistic.value is None:
        return f"undefined: {statistic.note}"
    if statistic.ci_low is None or statistic.ci_high is None:
        return f"{statistic.value:.3f}  ({statistic.note})"
    return f"{statistic.value:.3f}  [{statistic.ci_low:.3f}, {statistic.ci_high:.3f}]"
