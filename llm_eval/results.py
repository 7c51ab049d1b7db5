"""Reading what runs have published: `{root}/results/{summary,samples}/model=M/dataset=D/{run_id}.parquet`.

Runs publish while others read. A file is that of one run alone and appears whole or not at all, so a reader takes what
is there: what vanishes between listing and reading is left out, and temporary files (`.` in front) are never looked at.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from llm_eval import layout, storage, tables
from llm_eval.catalog import split_reference
from llm_eval.errors import InputError, StorageError
from llm_eval.records import Result, SampleResult

logger = logging.getLogger(__name__)

_FILE = re.compile(r"/model=[^/]+/dataset=(?P<dataset>[^/]+)/[^./][^/]*\.parquet$")
_FILES_AT_ONCE = 200  # object stores answer these side by side; what is held in memory stays small

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
    published = _published(root, set(models), {name for name, _ in wanted})
    found = [table for path, content in published if (table := _table(path, content)) is not None]
    return [
        row
        for row in (tables.from_table(Result, pa.concat_tables(found)) if found else [])
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
            reference = f"{row.dataset}_{row.variant}" if row.variant else row.dataset
            at = datetime.fromisoformat(row.evaluated_at)
            found[reference] = max(at, found.get(reference, at))
    return found


def samples(root: str, run_id: str, model: str, dataset: str) -> list[SampleResult]:
    """What each sample of one run was asked, answered and scored. `dataset`: name or reference. Raises InputError."""
    folder = layout.join(layout.results(root, "samples"), f"model={model}", f"dataset={split_reference(dataset)[0]}")
    address = layout.join(folder, f"{run_id}.parquet")
    if not storage.exists(address):
        raise InputError(f"{address}: run {run_id!r} of {model} on {dataset} has not published samples here")
    return tables.read(address, SampleResult)


def _published(root: str, models: set[str], datasets: set[str]) -> Iterator[tuple[str, bytes]]:
    """Path and content of each published file, pruned by its path; models and datasets: all where empty."""
    place = layout.results(root, "summary")
    folders = [layout.join(place, f"model={model}") for model in sorted(models)] or [place]
    paths = [path for folder in folders for path, dataset in _files(folder) if not datasets or dataset in datasets]
    fs, _ = storage.filesystem(place)
    for start in range(0, len(paths), _FILES_AT_ONCE):
        for path, content in fs.cat(paths[start : start + _FILES_AT_ONCE], on_error="return").items():
            if isinstance(content, FileNotFoundError):
                continue  # deleted since it was listed
            if isinstance(content, Exception):
                raise StorageError(f"cannot read {path}: {content}") from content
            yield path, content


def _files(folder: str) -> list[tuple[str, str]]:
    """Path and dataset of every published file below `folder`, sorted; [] if there is no such folder."""
    fs, path = storage.filesystem(folder)
    fs.invalidate_cache()
    try:
        found = [_FILE.search(f"/{file}") for file in fs.find(path)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {error.strerror or error}") from error
    return sorted((match.string.removeprefix("/"), match["dataset"]) for match in found if match)


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
