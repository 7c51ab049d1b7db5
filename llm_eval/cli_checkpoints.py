"""`llm-eval checkpoint …` and `llm-eval backfill`: a model's weights over time, and evaluating them all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_eval.errors import InputError, RunFailed, UnknownName

if TYPE_CHECKING:
    from llm_eval.remote.client import AirflowClient

app = typer.Typer(
    help="The registry of a model's checkpoints: what schedules and backfills go by.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model of the catalog with `checkpoints` in its YAML.")]
Format = Annotated[str, typer.Option("--format", "-f", help="table, or json.")]


@app.command()
def register(
    context: typer.Context,
    model: Model,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Its folder, or a hub id such as org/name@revision.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Default: the folder's, or the revision's.")] = None,
    created_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601; default: of its newest file, or of the commit.")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Evaluate it at once: on all datasets, in Airflow.")] = False,
) -> None:
    """Register a checkpoint, complete and in its final place. Twice is no harm.

    The last line of a training job: llm-eval checkpoint register MODEL checkpoints/step-3000 --now
    """
    from llm_eval import checkpoints

    spec = context.obj.catalog.model(model)
    added = checkpoints.register(spec, path, context.obj.settings, name=name, created_at=created_at)
    known = "registered" if added.is_new else "was registered already"
    print(f"{model}: {added.checkpoint.name} {known}, created at {added.checkpoint.created_at}")
    if now:
        _start(context, model, added.checkpoint.name)


def _start(context: typer.Context, model: str, name: str) -> None:
    from llm_eval.remote import ids
    from llm_eval.remote.address import connect

    client = connect(os.environ)
    suites = [s for s in context.obj.catalog.suites() if model in s.models]
    if not suites:
        raise InputError(f"no suite of the catalog asks for model {model!r}, so there is nothing to start")
    dag_id = ids.checkpoint_dag_id(model)
    client.set_paused(dag_id, False)
    evaluations = {ids.evaluation_dag_id(ids.Pair(model, d)) for s in suites for d in s.datasets}
    _refuse_without_room(client, sorted(evaluations))
    run = client.trigger(dag_id, name="now", partition_key=name)
    started = sorted(evaluations | {ids.report_dag_id(s.name, model) for s in suites})
    print(f"Airflow: {run.dag_id} starts {len(started)} DAGs for {name}")
    if paused := [dag_id for dag_id in started if client.is_paused(dag_id)]:
        raise RunFailed(f"paused, so their runs wait until somebody un-pauses them: {', '.join(paused)}")


@app.command("list")
def list_checkpoints(context: typer.Context, model: Model, format: Format = "table") -> None:
    """List a model's checkpoints, oldest first; those that were found but are not registered yet are marked."""
    from llm_eval import checkpoints

    settings = context.obj.settings
    found = checkpoints.available(context.obj.catalog.model(model), settings)
    registered = {c.name for c in checkpoints.Registry.of(settings.root, model).entries()}
    rows = [{**c.model_dump(exclude_none=True), "registered": c.name in registered} for c in found]
    if format == "json":
        print(json.dumps(rows, indent=2))
        return
    if format != "table":
        raise UnknownName("format", format, ["table", "json"])
    if not rows:
        raise InputError(f"model {model!r} has no checkpoint yet: llm-eval checkpoint register {model} PATH")
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        mark = "" if row["registered"] else "  (found, not registered yet)"
        print(f"{row['name']:<{width}}  {row['created_at']}  {row['path']}{mark}")


@app.command()
def discover(
    context: typer.Context,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Default: all models that say where to look.")
    ] = None,
) -> None:
    """Register the complete checkpoints that have appeared where the models' YAML says."""
    from llm_eval import checkpoints

    catalog = context.obj.catalog
    specs = [catalog.model(name) for name in models or catalog.names("models")]
    if models and (silent := [s.name for s in specs if s.checkpoints is None]):
        raise InputError(f"model {silent[0]!r} has no `checkpoints` in its YAML")
    for spec in specs:
        for checkpoint in checkpoints.discover(spec, context.obj.settings):
            print(f"{spec.name}: {checkpoint.name} registered, created at {checkpoint.created_at}")


@app.command()
def forget(
    context: typer.Context, model: Model, name: Annotated[str, typer.Argument(metavar="NAME", help="The checkpoint.")]
) -> None:
    """Take a checkpoint out of the registry. Its weights and its results stay where they are."""
    from llm_eval import checkpoints

    context.obj.catalog.model(model)
    gone = checkpoints.Registry.of(context.obj.settings.root, model).forget(name)
    print(f"{model}: {gone.name} forgotten, {gone.path} is untouched")


def backfill(
    context: typer.Context,
    model: Model,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="Checkpoints created from then on; ISO 8601.")],
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="… up to then; a date is its whole day. Default: now.")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only this suite's datasets; default: all suites'.")] = None,
    conf: Annotated[str, typer.Option(metavar="JSON", help='Parameters of each run, such as {"limit": 100}.')] = "{}",
    reprocess: Annotated[
        str, typer.Option(metavar="WHICH", help="Of runs that exist: none, failed, or completed (both) again.")
    ] = "none",
    max_active_runs: Annotated[int, typer.Option(min=1, help="Runs at once, of each dataset.")] = 4,
    backwards: Annotated[bool, typer.Option("--run-backwards", help="The newest checkpoint first.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only show what would run.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the runs until the last has ended.")] = True,
) -> None:
    """Evaluate every checkpoint of a model that was created in a range of time, on all datasets of its suites.

    One backfill in Airflow for each dataset, and one for each suite's report. Exit code 0 only if every run succeeded.
    """
    from rich.console import Console

    from llm_eval.remote import backfill as backfills
    from llm_eval.remote.address import connect
    from llm_eval.remote.watch import wait_for

    if reprocess not in ("none", "failed", "completed"):
        raise UnknownName("--reprocess", reprocess, ["none", "failed", "completed"])
    wanted = backfills.Range(
        _edge(begin, "--from", last=False),
        datetime.now(UTC) if end is None else _edge(end, "--to", last=True),
        _conf(conf),
        reprocess,  # type: ignore[arg-type]
        max_active_runs,
        backwards,
    )
    if wanted.begin > wanted.end:
        raise InputError(f"--from {begin} is later than --to {end or 'now'}: there is nothing between them")
    dag_ids = _dags(context, model, suite)
    client, console = connect(os.environ), Console(highlight=False)
    for dag_id in dag_ids:
        client.set_paused(dag_id, client.is_paused(dag_id))  # waits until Airflow knows it
    planned = {dag_id: backfills.dry_run(client, dag_id, wanted) for dag_id in dag_ids}
    names = list(dict.fromkeys(name for them in planned.values() for name in them))
    if not names:
        raise InputError(
            f"model {model!r} has no checkpoint from {wanted.begin.isoformat()} to {wanted.end.isoformat()}, or all of "
            f"them have their runs (--reprocess). See: llm-eval checkpoint list {model}"
        )
    for dag_id, them in planned.items():
        console.print(f"{dag_id}: {', '.join(them) or 'nothing to do'}", markup=False, soft_wrap=True)
    _refuse_without_room(client, [dag_id for dag_id, them in planned.items() if them])
    if dry:
        return
    runs = backfills.start(client, [d for d, them in planned.items() if them], wanted)
    console.print(f"Airflow: {len(runs)} runs for {len(names)} checkpoints")
    if not wait:
        return
    failed = [outcome for outcome in wait_for(client, runs, console, None) if outcome.reason]
    if failed:
        raise RunFailed(
            "\n".join([f"{len(failed)} of {len(runs)} runs failed", *(f"{o.label}: {o.reason}" for o in failed)])
        )


def _refuse_without_room(client: AirflowClient, dag_ids: Iterable[str]) -> None:
    if found := client.without_room(dag_ids):
        advice = (
            "Airflow would let them wait for ever, so nothing was started. Make the pool, or make it larger (in the "
            "UI: Admin, Pools), or lower the model's resources.gpus."
        )
        raise InputError("\n".join([*found, advice]))


def _dags(context: typer.Context, model: str, suite: str | None) -> list[str]:
    """Evaluations in the order of the suites, then their reports, which wait for them."""
    from llm_eval.remote import ids

    catalog = context.obj.catalog
    if catalog.model(model).checkpoints is None:
        raise InputError(f"model {model!r} has no `checkpoints` in its YAML, so there is nothing to go back to")
    suites = [catalog.suite(suite)] if suite else [s for s in catalog.suites() if model in s.models]
    if not suites or model not in suites[0].models:
        raise InputError(f"{f'suite {suite!r}' if suite else 'no suite'} asks for model {model!r}")
    datasets = dict.fromkeys(dataset for s in suites for dataset in s.datasets)
    evaluations = [ids.evaluation_dag_id(ids.Pair(model, dataset)) for dataset in datasets]
    return [*evaluations, *(ids.report_dag_id(s.name, model) for s in suites)]


def _edge(text: str, option: str, *, last: bool) -> datetime:
    """A moment; a date alone is its first moment, or its last one."""
    from llm_eval.checkpoints import moment

    try:
        found = moment(text)
    except InputError as error:
        raise InputError(f"{option}: {error}") from error
    return found.replace(hour=23, minute=59, second=59) if last and len(text) == len("2026-11-20") else found


def _conf(text: str) -> dict[str, Any]:
    from llm_eval.stages.plan import parse_params

    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"--conf {text!r} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"--conf {text!r} is not a JSON object")
    if "checkpoint" in values:
        raise InputError("--conf: a backfill names the checkpoint itself; leave `checkpoint` out")
    parse_params(values, "--conf")
    return values
