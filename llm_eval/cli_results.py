"""The commands that look at published results: report, compare, gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llm_eval.errors import GateFailed, InputError

if TYPE_CHECKING:
    from llm_eval.settings import Settings

Confidence = Annotated[
    float, typer.Option(min=0.5, max=0.999, metavar="C", help="Of intervals and verdicts: 0.95 is 95%.")
]


def add_to(app: typer.Typer) -> None:
    for command in (report, compare, gate):
        app.command()(command)


def report(
    context: typer.Context,
    suite: Annotated[
        str | None, typer.Option(help="Only this suite's models and datasets; writes its leaderboard.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Only these models.")] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", "-d", help="Only these datasets.")] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="table, csv, md, html or json.")] = "table",
    groups: Annotated[bool, typer.Option("--groups/--no-groups", help="Show a dataset's groups too.")] = False,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Every checkpoint, not just the newest.")] = False,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="With one --model: where its curves go, as .png or .svg.")
    ] = None,
) -> None:
    """Show the current results: the newest run of each model, checkpoint and dataset.

    A single --model that was evaluated at several checkpoints is shown as a trend: each dataset's headline over the
    checkpoints, what changed from one to the next, and whether that is more than chance. Its curves are drawn into
    ROOT/reports/MODEL/trend.png and trend.svg, or into the file that --plot names. --checkpoints, --groups and the
    formats other than table show the leaderboard.
    """
    from llm_eval import results
    from llm_eval.reporting import render

    settings = context.obj.settings
    if suite is not None:
        from llm_eval.stages.report import suite_rows

        rows = suite_rows(settings, context.obj.catalog.suite(suite))
    else:
        rows = results.current(results.summary(settings.root, models=model or (), datasets=dataset or ()))
    if not rows:
        raise InputError(f"no results under {settings.root} yet for what was asked. `llm-eval run` publishes some.")
    is_one = suite is None and len(model or ()) == 1
    if plot is not None and not is_one:
        raise InputError("--plot draws the curves of one model over its checkpoints: name it with --model")
    is_leaderboard = format != "table" or groups or checkpoints or len({row.checkpoint for row in rows}) == 1
    if is_one and (plot is not None or not is_leaderboard):
        _trend(settings, (model or [""])[0], tuple(dataset or ()), plot)
    else:
        print(render(rows, format, groups=groups, all_checkpoints=checkpoints))


def _trend(settings: Settings, model: str, datasets: tuple[str, ...], plot: str | None) -> None:
    from llm_eval.comparison import trends
    from llm_eval.reporting.curves import picture_format
    from llm_eval.reporting.trend import trend_table
    from llm_eval.stages.trend import draw_curves

    if plot is not None:
        picture_format(plot)  # before anything is read
    found = trends(settings.root, model, datasets)
    print(trend_table(found, model), end="\n\n", flush=True)
    for address in draw_curves(settings, model, found, plot):
        print(f"curves  {address}")


def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="MODEL, MODEL@CHECKPOINT, or a run's id or address.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same; differences are B minus A.")],
    dataset: Annotated[list[str] | None, typer.Option("--dataset", "-d", help="Only these datasets.")] = None,
    confidence: Confidence = 0.95,
    format: Annotated[str, typer.Option("--format", "-f", help="table, md or json.")] = "table",
) -> None:
    """Is B better than A? Compares two runs, models or checkpoints on the same samples.

    \b
    llm-eval compare demo@step-0072 demo@step-0096     two checkpoints, all datasets that both have
    llm-eval compare my-7b other-7b -d gsm8k           two models' newest checkpoints on one dataset
    llm-eval compare 20260101T120000-3f2a 20260102T120000-91bc     two runs by id

    Two models that answered the same questions can be told apart by fewer samples than their separate intervals
    suggest, since the questions that both get right, or both get wrong, say nothing. Right or wrong is tested by
    McNemar's exact test, everything else by a paired bootstrap. "better" and "worse" stand where p, corrected for the
    number of datasets (Holm), is below 1 - confidence; "no clear difference" is not a proof that there is none: look
    at the interval.

    Runs of another version of a dataset, another variant or metric are refused. Of runs with different limits the
    samples in common are compared, and how many were left out is said.
    """
    from llm_eval.comparison import compare_sides, side
    from llm_eval.reporting import render_comparison

    root = context.obj.settings.root
    family = compare_sides(side(root, first), side(root, second), dataset or (), confidence)
    print(render_comparison(family, format))


def gate(
    context: typer.Context,
    suite: Annotated[str, typer.Option("--suite", "-s", metavar="SUITE", help="A suite of the catalog with a `gate`.")],
    model: Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help="One of the suite's models.")],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which checkpoint; default: the newest with results.")
    ] = None,
) -> None:
    """Has a checkpoint lost too much? Prints its report; exit code 1 if the suite's gate stops it, 0 if not.

    \b
    gate: {max_drop: 0.01, confidence: 0.95, against: previous}      in the suite's YAML

    A dataset stops the checkpoint where it is worse than the one compared with by surely more than max_drop (0.01: one
    point of a hundred). A drop that may be chance does not. Writes nothing.
    """
    from llm_eval import comparison
    from llm_eval.reporting import report_text
    from llm_eval.stages.checkpoint_report import newest_checkpoint

    settings, spec = context.obj.settings, context.obj.catalog.suite(suite)
    if spec.gate is None:
        raise InputError(
            f"{context.obj.catalog.path('suites', suite)} has no gate. One is added by a line such as "
            "`gate: {max_drop: 0.01, confidence: 0.95, against: previous}`."
        )
    name = checkpoint or newest_checkpoint(settings, spec, model)
    found = comparison.build_report(settings.root, spec, model, name)
    if not found.rows:
        raise InputError(f"{model}@{name} has no result on suite {suite!r} under {settings.root}")
    print(report_text(found))
    if reasons := comparison.gate(found, spec.gate):
        raise GateFailed("\n".join([f"the gate of suite {suite!r} stops {model}@{name}", *reasons]))
