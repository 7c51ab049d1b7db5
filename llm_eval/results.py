"""Reading what runs have published: `{root}/results/{summary,samples}/model=M/dataset=D/{run_id}.parquet`.

Runs publish while others read. A file is that of one run alone and appears whole or not at all, so a reader takes what
is there: what vanishes between listing and reading is left out, and temporary files (`.` in front) are never looked at.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from llm_eval import layout, storage, tables
from llm_eval.catalog import split_reference
from llm_eval.errors import InputError, StorageError
from llm_eval.records import PublishedJudgement, Result, SampleResult, Score

logger = logging.getLogger(__name__)

_FILE = re.compile(r"/model=[^/]+/dataset=(?P<dataset>[^/]+)/[^./][^/]*\.parquet$")
_LATER = ("statistics", "choices")  # of samples: columns that older files lack

_KEYS = ("model", "checkpoint", "dataset", "variant", "sample_limit", "evaluated_at", "run_id")
# rank, not row_number: all rows of the newest run share the first place.
_CURRENT = """
    SELECT position FROM rows QUALIFY rank() OVER (
        PARTITION BY model, checkpoint, dataset, variant, sample_limit
        ORDER BY try_cast(evaluated_at AS TIMESTAMPTZ) DESC NULLS LAST, run_id DESC
    ) = 1 ORDER BY position
"""


def summary(
    root: str, *, models: Sequence[str] = (), datasets: Sequence[str] = (), suite: str | None = None
) -> list[Result]:
    """All published rows under `root`, of every run, in no particular order but a run's own; [] if there are none.

    models, datasets, suite: only those, all where empty. A dataset's bare name (`ceval`) stands for its variants too,
    a reference (`ceval_ppl`) for the one variant. Raises StorageError if the root cannot be read.
    """
    wanted = {split_reference(reference) for reference in datasets}
    return [
        row
        for row in _rows(_published(root, set(models), {name for name, _ in wanted}))
        if (suite is None or row.suite == suite)
        and (not wanted or (row.dataset, row.variant) in wanted or (row.dataset, None) in wanted)
    ]


def current(rows: Sequence[Result]) -> list[Result]:
    """Rows of the newest run of each (model, checkpoint, dataset, variant, sample_limit), in the order given.

    Newest: by the moment of `evaluated_at`, then by run id.
    """
    import duckdb

    if not rows:
        return []
    table = tables.to_table(Result, rows, _KEYS).append_column("position", pa.array(range(len(rows))))
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("rows", table)
        return [rows[position] for (position,) in connection.execute(_CURRENT).fetchall()]


def evaluated(root: str, model: str, checkpoint: str) -> dict[str, datetime]:
    """When each dataset (reference) was last published for a checkpoint, all its samples, nothing of it overridden."""
    found: dict[str, datetime] = {}
    for row in summary(root, models=(model,)):
        if (
            row.headline
            and row.checkpoint == checkpoint
            and row.sample_limit is None
            and not row.params.get("overrides")
        ):
            at = datetime.fromisoformat(row.evaluated_at)
            found[reference(row)] = max(at, found.get(reference(row), at))
    return found


def chosen(rows: Sequence[Result]) -> list[Result]:
    """Rows of one run per model, checkpoint, dataset and variant, in the order given.

    A full run before limited ones, of these one of more samples before one of fewer; among equals the newest.
    """
    candidates = current(rows)
    best: dict[tuple[str | None, ...], tuple[bool, int]] = {}
    for row in candidates:
        best[pair_of(row)] = max(best.get(pair_of(row), (False, 0)), _reach(row))
    return [row for row in candidates if _reach(row) == best[pair_of(row)]]


def pair_of(row: Result) -> tuple[str | None, ...]:
    return row.model, row.checkpoint, row.dataset, row.variant


def _reach(row: Result) -> tuple[bool, int]:
    return row.sample_limit is None, row.sample_limit or 0


def newest_checkpoints(rows: Iterable[Result]) -> dict[str, str | None]:
    """The newest evaluated checkpoint of each model, by the checkpoint's own date, then by that of its evaluation."""
    newest: dict[str, tuple[datetime, datetime, str | None]] = {}
    for row in rows:
        found = (moment(row.checkpoint_created_at), moment(row.evaluated_at), row.checkpoint)
        if row.model not in newest or found[:2] > newest[row.model][:2]:
            newest[row.model] = found
    return {model: checkpoint for model, (_, _, checkpoint) in newest.items()}


def moment(text: str | None) -> datetime:
    """An ISO 8601 text as a moment, UTC where it names no zone; the beginning of time where there is none."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def reference(row: Result) -> str:
    """The dataset as users name it: `ceval`, `ceval_ppl`."""
    return f"{row.dataset}_{row.variant}" if row.variant else row.dataset


def run(root: str, run_id: str) -> list[Result]:
    """All rows of the runs with this id, which a scheduler may give to several pairs; [] if there is none."""
    return _rows(_published(root, set(), set(), run_id))


def was_left(root: str, model: str, dataset: str, checkpoint: str, since: datetime) -> bool:
    """Whether a run of a dataset (reference) for a checkpoint, planned since then, has not published."""
    for address in storage.files(layout.join(root, "runs", model, dataset)):
        run = layout.join(address, "run.json")
        if storage.exists(run) and not storage.exists(layout.join(address, layout.PUBLISHED)):
            planned = storage.read_json(run)
            is_about = (planned["checkpoint"] or {}).get("name") == checkpoint
            if is_about and datetime.fromisoformat(planned["planned_at"]) >= since:
                return True
    return False


def samples(root: str, run_id: str, model: str, dataset: str) -> list[SampleResult]:
    """What each sample of one run was asked, answered and scored. `dataset`: name or reference. Raises InputError."""
    return tables.read(_samples_file(root, run_id, model, dataset), SampleResult, later=_LATER)


def scores(root: str, run_id: str, model: str, dataset: str) -> list[Score]:
    """The scores alone of what `samples` reads, several times as fast."""
    return tables.read(_samples_file(root, run_id, model, dataset), Score, later=_LATER)


def judgements(root: str, run_id: str, model: str, dataset: str) -> list[PublishedJudgement]:
    """What judges said in one run, order by order and turn by turn. Raises InputError if nothing was judged in it."""
    return tables.read(_file_of_run(root, "judgements", run_id, model, dataset), PublishedJudgement)


def _samples_file(root: str, run_id: str, model: str, dataset: str) -> str:
    return _file_of_run(root, "samples", run_id, model, dataset)


def _file_of_run(root: str, table: str, run_id: str, model: str, dataset: str) -> str:
    folder = layout.join(layout.results(root, table), f"model={model}", f"dataset={split_reference(dataset)[0]}")
    address = layout.join(folder, f"{run_id}.parquet")
    if not storage.exists(address):
        raise InputError(f"{address}: run {run_id!r} of {model} on {dataset} has not published {table} here")
    return address


def _rows(published: Iterable[tuple[str, bytes]]) -> list[Result]:
    found = [table for path, content in published if (table := _table(path, content)) is not None]
    return tables.from_table(Result, pa.concat_tables(found)) if found else []


def _published(
    root: str, models: set[str], datasets: set[str], run_id: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Address and content of each published file, pruned by its path; models, datasets, run id: all where empty."""
    place = layout.results(root, "summary")
    folders = [layout.join(place, f"model={model}") for model in sorted(models)] or [place]
    found = [match for folder in folders for uri in storage.tree(folder) if (match := _FILE.search(uri))]
    uris = [match.string for match in found if not datasets or match["dataset"] in datasets]
    if run_id is not None:
        uris = [uri for uri in uris if uri.endswith(f"/{run_id}.parquet")]
    return storage.read_each(uris, may_vanish=True)


def _table(path: str, content: bytes) -> pa.Table | None:
    """One file's rows, also where it was written before a column that may be absent came; None if it is unreadable."""
    try:
        table = pq.ParquetFile(io.BytesIO(content)).read(use_threads=False)
    except pa.ArrowInvalid as error:
        logger.warning("%s is left out, it is not a readable Parquet file: %s", path, error)
        return None
    schema = tables.schema_of(Result)
    if missing := [f.name for f in schema if not f.nullable and f.name not in table.column_names]:
        raise StorageError(
            f"{path}: columns missing: {', '.join(missing)}; written by another version? Publish the run again "
            "(llm-eval publish RUN_URI --force), or delete the file."
        )
    columns = [table[f.name] if f.name in table.column_names else pa.nulls(len(table), f.type) for f in schema]
    return pa.table(columns, schema=schema)
