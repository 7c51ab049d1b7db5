"""The command line. Thin: parses, calls the library, prints. Exit code 0, 1 for a failed run, 2 for bad input."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_eval import cli_checkpoints, cli_humans, cli_judges, cli_results, ending, signals
from llm_eval.errors import InputError, LlmEvalError
from llm_eval.settings import Settings

if TYPE_CHECKING:
    from llm_eval.catalog import Catalog
    from llm_eval.stages import StageReport

app = typer.Typer(
    name="llm-eval",
    help="Evaluate language models: benchmarks in, published Parquet and tables one can trust out.",
    epilog="First steps: llm-eval list datasets · llm-eval preview MODEL DATASET · llm-eval run --model M --dataset D "
    "--limit 50 · llm-eval report",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass(slots=True)
class _Globals:
    settings: Settings

    @property
    def catalog(self) -> Catalog:
        from llm_eval.catalog import Catalog

        return Catalog(self.settings.catalogs)


@app.callback()
def _global_options(
    context: typer.Context,
    catalog: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Catalog folder laid over include/catalog; may be given several times."),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Where everything is kept: a folder or any fsspec URI. Default: LLM_EVAL_ROOT, var/."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    settings = Settings.from_environment(os.environ)
    if catalog:
        settings = settings.with_catalogs(tuple(catalog))
    context.obj = _Globals(settings.with_root(root) if root else settings)


ModelName = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help="A model of the catalog.")]
DatasetName = Annotated[
    str, typer.Option("--dataset", "-d", metavar="DATASET", help="A dataset, or dataset_variant, such as ceval_ppl.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a catalog value: dataset.generation.max_tokens=64"),
]
CheckpointName = Annotated[str | None, typer.Option(metavar="NAME", help="Name of a checkpoint; default: the newest.")]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Ask only so many samples, drawn evenly; default: all.")
]
Force = Annotated[bool, typer.Option("--force", help="Redo every stage, also those already done.")]
Shards = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Slices of the infer stage; default: as the model says.")
]


@app.command()
def run(
    context: typer.Context,
    model: ModelName,
    dataset: DatasetName,
    checkpoint: CheckpointName = None,
    limit: Limit = None,
    overrides: Set = None,
    shards: Shards = None,
    force: Force = False,
    format: Annotated[str, typer.Option(help="table, or json (the summary rows as a list).")] = "table",
) -> None:
    """Evaluate a model on a dataset: all stages, and with several shards and GPUs a process for each GPU.

    Exit code 0 only if a score was published.
    """
    from llm_eval import results
    from llm_eval.reporting import run_report
    from llm_eval.stages.pipeline import run_all

    if format not in ("table", "json"):
        raise InputError(f"--format {format!r} is not known here: table or json")
    wish = _wish(model, dataset, checkpoint=checkpoint, limit=limit, overrides=overrides, force=force, shards=shards)
    done = run_all(context.obj.catalog, context.obj.settings, wish)
    root = context.obj.settings.root
    rows = [r for r in results.summary(root, models=(model,), datasets=(done.dataset.name,)) if r.run_id == done.run_id]
    print(json.dumps([asdict(r) for r in rows], ensure_ascii=False, indent=2) if format == "json" else run_report(rows))


@app.command()
def plan(
    context: typer.Context,
    model: ModelName,
    dataset: DatasetName,
    checkpoint: CheckpointName = None,
    limit: Limit = None,
    overrides: Set = None,
    shards: Shards = None,
    force: Force = False,
) -> None:
    """Plan a run without starting it, and print its address for the stage commands."""
    from datetime import UTC, datetime

    from llm_eval.layout import Layout
    from llm_eval.stages import plan as planning

    wish = _wish(model, dataset, checkpoint=checkpoint, limit=limit, overrides=overrides, force=force, shards=shards)
    planned = planning.plan(context.obj.catalog, context.obj.settings, wish, datetime.now(UTC))
    print(Layout(context.obj.settings.root, planned).run_uri)


def _wish(model: str, dataset: str, *, overrides: list[str] | None, **params: Any) -> Any:
    import yaml

    from llm_eval.stages.plan import Wish, parse_params

    values = {}
    for assignment in overrides or []:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment!r} is not of the form KEY=VALUE")
        values[key] = yaml.safe_load(value)
    return Wish(model, dataset, parse_params({**params, "overrides": values}, "command line"))


RunAddress = Annotated[str, typer.Argument(metavar="RUN_URI", help="A run's address, as `llm-eval plan` prints it.")]


def _stage_command(stage: str, help_text: str) -> None:
    def command(context: typer.Context, run: RunAddress, force: Force = False) -> None:
        _run_stage(context, stage, run, force=force)

    def sharded(
        context: typer.Context,
        run: RunAddress,
        shard: Annotated[str, typer.Option(metavar="I/N", help="Which slice, counted from 0.")] = "0/1",
        force: Force = False,
    ) -> None:
        _run_stage(context, stage, run, shard=shard, force=force)

    def judging(
        context: typer.Context,
        run: RunAddress,
        judge: Annotated[str, typer.Option(metavar="JUDGE", help="Which of the run's judges, if it has several.")] = "",
        shard: Annotated[str, typer.Option(metavar="I/N", help="Which slice, counted from 0.")] = "0/1",
        force: Force = False,
    ) -> None:
        _run_stage(context, stage, run, shard=shard, force=force, judge=judge)

    commands: dict[str, Callable[..., None]] = {"infer": sharded, "judge": judging}
    app.command(stage, help=help_text)(commands.get(stage, command))


def _run_stage(
    context: typer.Context, stage: str, run_uri: str, *, shard: str = "0/1", force: bool, judge: str = ""
) -> None:
    from llm_eval.layout import Shard
    from llm_eval.stages import run_stage

    report: StageReport = run_stage(
        stage, run_uri, context.obj.settings, shard=Shard.parse(shard), force=force, judge=judge
    )
    print(json.dumps(asdict(report), ensure_ascii=False))


for _stage, _help in {
    "fetch": "Read the dataset's source into samples.",
    "validate": "Check the samples with Great Expectations; bad data stops here.",
    "render": "Turn samples into prompts.",
    "infer": "Ask the model, resuming where an earlier try stopped.",
    "score": "Extract answers and measure them.",
    "judge": "Ask a judge about the answers; what it has said before is not asked again.",
    "verdict": "Read the judges' replies and count them.",
    "publish": "Write the run's rows of results/summary and results/samples.",
}.items():
    _stage_command(_stage, _help)


cli_results.add_to(app)
app.command()(cli_judges.judge_agreement)


@app.command("list")
def list_names(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="datasets|models|judges|suites", help="What to list.")],
    patterns: Annotated[
        list[str] | None, typer.Argument(metavar="[PATTERN]...", help="Names that hold all of these.")
    ] = None,
) -> None:
    """List what the catalog names, datasets with their variants."""
    from llm_eval.listing import listing

    print(listing(context.obj.catalog, kind, patterns or []))


@app.command()
def preview(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model of the catalog.")],
    dataset: Annotated[str, typer.Argument(help="A dataset, or dataset_variant.")],
    count: Annotated[int, typer.Option(min=0, help="How many samples, drawn evenly; 0: all of them.")] = 3,
    raw: Annotated[bool, typer.Option("--raw", help="As the model reads it: its chat template applied.")] = False,
    format: Annotated[str, typer.Option("--format", "-f", help="text, or jsonl to answer the prompts.")] = "text",
) -> None:
    """Show the prompts that a model would get, with the expected answers. Loads no model, writes nothing."""
    from llm_eval.preview import as_json, as_text, previews

    shown = {"text": as_text, "jsonl": as_json}.get(format)
    if shown is None:
        raise InputError(f"--format {format!r} is not known here: text or jsonl")
    for item in previews(context.obj.catalog, context.obj.settings, model, dataset, count or None, raw):
        print(shown(item))


@app.command()
def check(context: typer.Context) -> None:
    """Check every file of the catalog, the pod template, and each model's pod; lists all mistakes."""
    from llm_eval.check import mistakes
    from llm_eval.manifests import stage_pods, templates

    catalog, template = context.obj.catalog, templates.in_use(os.environ)
    of_catalog, of_template = mistakes(catalog), templates.mistakes_of_file(template)
    if not of_catalog and not of_template:
        models = map(catalog.model, catalog.names("models"))
        of_catalog = stage_pods.mistakes_of_models(templates.read(template), models)
    places = [f"{len(of_catalog)} mistake(s) in the catalog"] if of_catalog else []
    places += [f"{len(of_template)} mistake(s) in the pod template"] if of_template else []
    if places:
        raise InputError("\n".join([*of_catalog, *of_template, ", ".join(places)]))
    counted = ", ".join(f"{len(catalog.names(kind))} {kind}" for kind in ("datasets", "models", "judges", "suites"))
    print(f"catalog: {counted}, no mistakes")
    print(f"pod template: {template}, no mistakes")


@app.command()
def schema(
    folder: Annotated[Path, typer.Argument(help="Where to write the JSON Schema files.")] = Path(
        "include/catalog/schema"
    ),
) -> None:
    """Write JSON Schemas of the catalog's files, for editors that complete and check YAML."""
    from llm_eval.schema import write_schemas

    for path in write_schemas(folder):
        print(path)


app.add_typer(cli_checkpoints.app, name="checkpoint")
app.add_typer(cli_humans.app, name="human")
app.command()(cli_checkpoints.backfill)


def main() -> None:
    """Entry point of `llm-eval`."""
    signals.take_charge()
    try:
        _command()
    except SystemExit as stop:
        ending.end(stop.code)
        raise


def _command() -> None:
    try:
        app()
    except LlmEvalError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted; what was answered is kept, run the same command to go on", file=sys.stderr)
        raise SystemExit(130) from None
