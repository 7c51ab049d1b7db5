"""Which weights of a model there are, and which one a run is about.

The registry is what backfills and schedules go by. Where a model's YAML says where its checkpoints appear, they are
registered as they are found: by the `checkpoints` DAG, by `llm-eval checkpoint discover`, and by every plan.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from llm_eval.backends import hub
from llm_eval.backends.weight_files import why_incomplete
from llm_eval.checkpoints.discovery import candidates
from llm_eval.checkpoints.registry import Added, Registry, moment
from llm_eval.errors import InputError, MissingWeights, UnknownName
from llm_eval.settings import Settings, find
from llm_eval.specs import Checkpoint, ModelSpec, TransformersBackend

__all__ = ["Added", "Registry", "available", "choose", "discover", "moment", "register"]


def available(model: ModelSpec, settings: Settings, now: datetime | None = None) -> list[Checkpoint]:
    """Registered checkpoints, and those found that are not registered yet, oldest first; [] for a model without any.

    Nothing is written. Raises MissingWeights if nothing is registered and there is no place to look at.
    """
    if model.checkpoints is None:
        return []
    known = Registry.of(settings.root, model.name).entries()
    names = {checkpoint.name for checkpoint in known}
    try:
        new = candidates(model, settings, now or datetime.now(UTC), names)
    except MissingWeights:
        if not known:
            raise
        new = []
    return sorted([*known, *new], key=lambda checkpoint: checkpoint.created_at)


def discover(model: ModelSpec, settings: Settings, now: datetime | None = None) -> list[Checkpoint]:
    """Register what is complete and not registered yet; what was new, oldest first. Raises as `candidates` does."""
    if model.checkpoints is None:
        return []
    registry = Registry.of(settings.root, model.name)
    names = {checkpoint.name for checkpoint in registry.entries()}
    found = candidates(model, settings, now or datetime.now(UTC), names)
    added = [registry.add(checkpoint, may_move=True) for checkpoint in found]
    return [one.checkpoint for one in added if one.is_new]


def register(
    model: ModelSpec, path: str, settings: Settings, *, name: str | None = None, created_at: str | None = None
) -> Added:
    """Register a checkpoint by hand.

    path: a folder (relative: to where we are, else under LLM_EVAL_MODELS), or a hub id with @revision. name: default
    the folder's, or the revision's. created_at: ISO 8601, default the time of the newest file, or of the commit.
    Raises InputError for what could not be evaluated later.
    """
    if model.checkpoints is None:
        raise InputError(
            f"model {model.name!r} has no `checkpoints` in its YAML. Add `checkpoints: {{kind: registry}}`: runs then "
            "ask for one, and schedules and backfills go by them."
        )
    found = _located(model, path, settings)
    fields = {"name": name or found.name, "created_at": created_at and moment(created_at).isoformat()}
    try:
        checkpoint = Checkpoint.model_validate({**found.model_dump(), **{k: v for k, v in fields.items() if v}})
    except ValueError as error:
        raise InputError(
            f"{fields['name']!r} is no name for a checkpoint: letters, digits, '.', '_' and '-', at most 120. "
            "Give it one with --name."
        ) from error
    return Registry.of(settings.root, model.name).add(checkpoint, may_move=created_at is None)


def _located(model: ModelSpec, path: str, settings: Settings) -> Checkpoint:
    """What is at `path`, under the name and the time that it brings along."""
    folder = Path(path).resolve() if Path(path).is_dir() else find(path, settings.models)
    if folder is not None:
        newest = max((p.stat().st_mtime for p in folder.iterdir()), default=folder.stat().st_mtime)
        if isinstance(model.backend, TransformersBackend) and (reason := why_incomplete(folder)) is not None:
            raise MissingWeights(f"model {model.name!r}: {folder} is no complete checkpoint: {reason}")
        created = datetime.fromtimestamp(int(newest), UTC).isoformat()
        return Checkpoint.model_construct(name=folder.name, path=str(folder), created_at=created)
    repository, _, revision = path.partition("@")
    if not hub.is_id(repository):
        raise MissingWeights(
            f"model {model.name!r}: there is no folder {path!r}, and it is not a hub id of the form "
            "organisation/name@revision."
        )
    commit = hub.commit_made(repository, revision or "main", f"model {model.name!r}:")
    name = (revision or commit.sha[:12]).replace("/", "-")
    created = moment(commit.created_at).isoformat()
    return Checkpoint.model_construct(name=name, path=repository, created_at=created, revision=commit.sha)


def choose(model: ModelSpec, name: str | None, settings: Settings) -> Checkpoint | None:
    """The checkpoint called `name`, or the newest one; None for a model without checkpoints. Nothing is written."""
    if model.checkpoints is None:
        if name is not None:
            raise UnknownName("checkpoint", name, [], hint=f"Model {model.name!r} has no `checkpoints` in its YAML.")
        return None
    found = available(model, settings)
    if not found:
        raise MissingWeights(f"model {model.name!r} has no checkpoint yet: {_looked_for(model)}")
    if name is None:
        return found[-1]
    for checkpoint in found:
        if checkpoint.name == name:
            return checkpoint
    raise UnknownName(
        f"checkpoint of model {model.name!r}",
        name,
        [c.name for c in found],
        hint=f"Register it with: llm-eval checkpoint register {model.name} PATH",
    )


def _looked_for(model: ModelSpec) -> str:
    by_hand = f"register one with: llm-eval checkpoint register {model.name} PATH"
    match model.checkpoints:
        case None:
            return by_hand
        case spec if spec.kind == "folders":
            return f"no complete folder matches {f'{spec.path}/{spec.pattern}'!r}; or {by_hand}"
        case spec if spec.kind == "hub":
            return f"no revision on the hub matches {spec.pattern!r}; or {by_hand}"
    return by_hand
