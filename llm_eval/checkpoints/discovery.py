"""Finding checkpoints where a model's YAML says that they appear: folders of a training run, revisions on the hub.

Only complete ones. A folder is complete when the weights are as long as their headers say, nothing is missing that an
index names, and nothing was written into it for a while: the tokenizer comes after the weights.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from llm_eval.backends import hub
from llm_eval.backends.weight_files import why_incomplete
from llm_eval.checkpoints.registry import moment
from llm_eval.errors import MissingWeights
from llm_eval.settings import Settings, find
from llm_eval.specs import Checkpoint, CheckpointFolders, HubRevisions, ModelSpec, TransformersBackend

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_SIGNS = ("config.json", "adapter_config.json")  # what makes a folder one: of a whole model, of an adapter


def candidates(model: ModelSpec, settings: Settings, now: datetime, known: Collection[str] = ()) -> list[Checkpoint]:
    """Complete checkpoints that are there now, oldest first; [] for a model whose checkpoints are only registered.

    Those called as in `known` are left out, and neither read nor asked for.
    Raises MissingWeights if the place to look at does not exist or the hub does not answer.
    """
    match model.checkpoints:
        case CheckpointFolders() as folders:
            found = list(_folders(model, folders, settings, now, known))
        case HubRevisions(pattern=pattern):
            found = list(_revisions(model, pattern, known))
        case _:
            return []
    # Folders copied within one second are told apart by the numbers in their names: step-900 before step-1000.
    return sorted(found, key=lambda c: (c.created_at, _numbers_as_numbers(c.name)))


def _folders(
    model: ModelSpec, spec: CheckpointFolders, settings: Settings, now: datetime, known: Collection[str]
) -> Iterator[Checkpoint]:
    folder = find(spec.path, settings.models)
    if folder is None:
        places = ", ".join(str(f / spec.path) for f in settings.models)
        raise MissingWeights(
            f"model {model.name!r}: its folder of checkpoints does not exist. Looked at {places}. "
            "Set LLM_EVAL_MODELS to the folder that holds it, or correct checkpoints.path in the model's YAML."
        )
    for path in folder.glob(spec.pattern):
        sign = next((path / name for name in _SIGNS if (path / name).is_file()), None)
        if sign is None or path.name in known or not _is_usable(model, path.name):
            continue
        reason = _unsettled(path, spec.settled_seconds, now) or why_incomplete(path)
        if reason is not None:
            logger.info("model %s: %s is left for later: %s", model.name, path, reason)
            continue
        created = datetime.fromtimestamp(int(sign.stat().st_mtime), UTC)
        yield Checkpoint(name=path.name, path=str(path.resolve()), created_at=created.isoformat())


def _unsettled(folder: Path, settled_seconds: float, now: datetime) -> str | None:
    try:
        newest = max(p.stat().st_mtime for p in (folder, *folder.iterdir()))
    except OSError as error:
        return f"it changes while it is looked at ({error})"
    age = now.timestamp() - newest
    return f"written into {age:.0f} s ago" if age < settled_seconds else None


def _revisions(model: ModelSpec, pattern: str, known: Collection[str]) -> Iterator[Checkpoint]:
    assert isinstance(model.backend, TransformersBackend)  # as the spec says
    repository, preamble = model.backend.path, f"model {model.name!r}:"
    for revision, sha in hub.revisions(repository, preamble).items():
        name = revision.replace("/", "-")
        if fnmatch.fnmatchcase(revision, pattern) and name not in known and _is_usable(model, name):
            created = moment(hub.commit_made(repository, sha, preamble).created_at).isoformat()
            yield Checkpoint(name=name, path=repository, created_at=created, revision=sha)


def _is_usable(model: ModelSpec, name: str) -> bool:
    usable = _NAME.fullmatch(name) is not None
    if not usable:
        logger.warning(
            "model %s: %r is no name for a checkpoint (letters, digits, '.', '_', '-'); left out", model.name, name
        )
    return usable


def _numbers_as_numbers(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
