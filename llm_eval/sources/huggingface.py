"""Datasets of the Hugging Face hub, or local folders in the hub's layout. Data formats only: code is never run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from llm_eval.errors import InvalidData, MissingSource, StorageError
from llm_eval.settings import Settings, find
from llm_eval.sources.pieces import Piece, Row
from llm_eval.specs import DatasetSpec, HuggingFaceSource, ResolvedSource, SourceFile

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_TIMEOUT_SECONDS = 20


def pin(source: HuggingFaceSource, settings: Settings) -> tuple[str | None, tuple[SourceFile, ...]]:
    """The hub's commit and no files; or, for a local folder, no commit and the hash of each of its files.

    Raises MissingSource, saying whether the hub has no such dataset or could not be asked.
    """
    if (folder := _folder(source, settings)) is not None:
        return None, _hashes(source, folder)
    places = ", ".join(map(str, settings.datasets)) or "any folder: LLM_EVAL_DATASETS is not set"
    if not HUB_ID.fullmatch(source.path):
        raise MissingSource(f"there is no such folder in {places}, and it is no hub id (owner/name)")
    return _commit(source, places), ()


def _commit(source: HuggingFaceSource, places: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    here = f"there is no such folder in {places}, and"
    try:
        info = HfApi().dataset_info(source.path, revision=source.revision, timeout=HUB_TIMEOUT_SECONDS)
    except RevisionNotFoundError as error:
        raise MissingSource(f"{here} the hub's dataset has no revision {source.revision!r}") from error
    except RepositoryNotFoundError as error:
        raise MissingSource(f"{here} the hub has no such dataset (or shows it only with a token)") from error
    except Exception as error:  # whatever the hub's HTTP client raises; its library has changed more than once
        raise MissingSource(
            f"{here} the hub cannot be reached ({type(error).__name__}: {error}). Fetch it where there is a network "
            f"with: hf download {source.path} --repo-type dataset --local-dir FOLDER/{source.path}, with FOLDER in "
            "LLM_EVAL_DATASETS"
        ) from error
    if info.sha is None:
        raise MissingSource(f"{here} the hub names no commit for it")
    return info.sha


def read(
    source: HuggingFaceSource, dataset: DatasetSpec, resolved: ResolvedSource, settings: Settings
) -> tuple[list[Piece], list[Piece]]:
    """Questions and few-shot rows, one piece per subset, or one for all. Raises InvalidData or StorageError."""
    folder = None
    if resolved.revision is None:
        folder = _unchanged_folder(source, resolved, settings)

    @cache  # one configuration often serves all subsets
    def load(config: str | None, split: str) -> list[Row]:
        return _load(source.path, config, split, folder, resolved.revision)

    def pieces(split: str | None) -> Iterator[Piece]:
        if split is None:
            return
        named = "{subset}" in (source.config or "") + split
        for subset in dataset.subsets if named else ("",):
            config = source.config.replace("{subset}", subset) if source.config is not None else None
            yield Piece(subset, load(config, split.replace("{subset}", subset)))

    return list(pieces(source.split)), list(pieces(source.few_shot_split))


def _load(path: str, config: str | None, split: str, folder: Path | None, revision: str | None) -> list[Row]:
    import datasets

    where = f"{folder or path}, config {config!r}, split {split!r}"
    datasets.disable_progress_bars()
    try:
        if folder is not None:
            # Streamed: a copy in the library's cache would outlive a changed file.
            return list(datasets.load_dataset(str(folder), name=config, split=split, streaming=True))
        rows = datasets.load_dataset(path, name=config, split=split, revision=revision)
        # With the hub away, the library takes the newest copy in its cache, whatever its commit.
        if stale := [f["filename"] for f in rows.cache_files if revision not in Path(f["filename"]).parts]:
            raise ConnectionError(f"commit {revision} is not in the cache, only {stale[0]}")
        return list(rows)
    except (datasets.exceptions.DatasetsError, ValueError, RuntimeError, FileNotFoundError) as error:
        hint = (
            " Name a copy that is data only, or try revision: refs/convert/parquet." if "script" in str(error) else ""
        )
        raise InvalidData(f"{where}: cannot be read: {error}.{hint}") from error
    except Exception as error:
        raise StorageError(f"{where}: the hub went away ({type(error).__name__}: {error})") from error


def _folder(source: HuggingFaceSource, settings: Settings) -> Path | None:
    place = find(source.path, settings.datasets)
    return place if place is not None and place.is_dir() else None


def _unchanged_folder(source: HuggingFaceSource, resolved: ResolvedSource, settings: Settings) -> Path:
    folder = _folder(source, settings)
    if folder is None:
        raise MissingSource(f"{source.path} was there when the run was planned, and is gone. Plan the run again.")
    now, then = _hashes(source, folder), resolved.files
    if now != then:
        changed = sorted({file.path for file in set(now) ^ set(then)})
        raise InvalidData(f"{folder}: changed since the run was planned: {', '.join(changed[:5])}. Plan a new run.")
    return folder


def _hashes(source: HuggingFaceSource, folder: Path) -> tuple[SourceFile, ...]:
    pinned = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):  # .git, .cache
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            pinned.append(SourceFile(path=f"{source.path}/{inside.as_posix()}", sha256=digest))
    return tuple(pinned)
