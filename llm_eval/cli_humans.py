"""`llm-eval human …`: rounds of questions to people, as sheets that go out and come back."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from llm_eval.errors import InputError

app = typer.Typer(
    help="People as judges: a suite's `human` says what they are asked.", no_args_is_help=True, rich_markup_mode=None
)

RoundName = Annotated[
    str, typer.Argument(metavar="SUITE[/ROUND]", help="A round as `human list` names it; a suite's newest one.")
]


@app.command()
def export(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="SUITE[/ROUND]", help="A suite: a new round is picked. A round: that one again.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the sheet goes.")],
    format: Annotated[str, typer.Option("--format", "-f", help="csv or xlsx; default: by the file's name.")] = "",
    rater: Annotated[str, typer.Option(metavar="NAME", help="Who will fill it in.")] = "",
    seed: Annotated[str, typer.Option(metavar="TEXT", help="Decides what is picked; default: drawn.")] = "",
) -> None:
    """Write a blinded sheet for people to fill in: the column `verdict` takes 1, 2, tie, or a number."""
    from llm_eval.human import rounds, sheets

    format = format or output.suffix.removeprefix(".")
    sheets.check_format(format)  # before a round is picked for it
    settings, now = context.obj.settings, datetime.now(UTC)
    suite, slash, _ = name.partition("/")
    if slash and seed:
        raise InputError("--seed is for a new round; leave it out, or name the suite alone")
    if slash:
        made = rounds.find(settings.root, name)
    else:
        spec = context.obj.catalog.suite(suite)
        made = rounds.start(settings, spec, rounds.new_name(spec, now), seed or secrets.token_hex(8), now)
    data = sheets.export(made, format, rater)
    try:
        output.write_bytes(data)
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written: {error.strerror}") from error
    print(f"{output}: {len(made.items)} items of round {made.suite}/{made.name}")
    for note in made.notes:
        print(f"note: {note}")


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A filled-in sheet, csv or xlsx.")],
    rater: Annotated[str, typer.Option(metavar="NAME", help="Who filled in the rows that name nobody.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Count it instead of what the same people said before.")
    ] = False,
) -> None:
    """Record a sheet's answers and publish the round anew. Of a sheet with a mistake nothing is recorded."""
    from llm_eval.human.imports import import_sheet
    from llm_eval.human.report import render, report

    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    root = context.obj.settings.root
    made, count = import_sheet(root, file.name, data, datetime.now(UTC), rater=rater, replace=replace)
    print(f"{file}: {count} answers recorded in round {made.suite}/{made.name}\n")
    print(render(made, report(root, made), "table"))


@app.command("report")
def report_(
    context: typer.Context,
    name: RoundName,
    format: Annotated[str, typer.Option("--format", "-f", help="table, md, html or json.")] = "table",
) -> None:
    """Publish a round with the answers there are by now, and show what they come to."""
    from llm_eval.human import rounds
    from llm_eval.human.report import render, report

    made = rounds.find(context.obj.settings.root, name)
    print(render(made, report(context.obj.settings.root, made), format))


@app.command("list")
def list_(
    context: typer.Context,
    suite: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="Default: all suites.")] = None,
) -> None:
    """List the rounds there are, oldest first, with how many items have an answer."""
    from llm_eval.human import rounds, scoring

    for made in rounds.every(context.obj.settings.root, suite):
        keys, said = made.keys, scoring.given(rounds.answers_of(made))
        print(f"{made.suite}/{made.name}  {made.human.ask.kind}  {len(said)} of {len(keys)} items answered")
