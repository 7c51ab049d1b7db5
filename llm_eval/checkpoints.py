"""Which weights of a model there are, and which one a run is about."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from llm_eval.errors import MissingWeights, UnknownName
from llm_eval.settings import Settings, find
from llm_eval.specs import Checkpoint, ModelSpec


def available(model: ModelSpec, settings: Settings) -> list[Checkpoint]:
    """Checkpoints of a model, oldest first; [] for a model without any. Raises MissingWeights if the folder is absent.

    A folder without config.json, or adapter_config.json for one that `backend.path` is the base of, is not a checkpoint
    (yet).
    """
    if model.checkpoints is None:
        return []
    folder = find(model.checkpoints.path, settings.models)
    if folder is None:
        places = ", ".join(str(f / model.checkpoints.path) for f in settings.models)
        raise MissingWeights(
            f"model {model.name!r}: its folder of checkpoints does not exist. Looked at {places}. "
            "Set LLM_EVAL_MODELS to the folder that holds it, or correct checkpoints.path in the model's YAML."
        )
    found = [_checkpoint(p, sign) for p in folder.glob(model.checkpoints.pattern) if (sign := _sign(p)) is not None]
    # Folders copied within one second are told apart by the numbers in their names: step-900 before step-1000.
    return sorted(found, key=lambda c: (c.created_at, _numbers_as_numbers(c.name)))


def _sign(folder: Path) -> Path | None:
    """The file that makes it one: of a whole model, or of an adapter."""
    return next((p for name in ("config.json", "adapter_config.json") if (p := folder / name).is_file()), None)


def _checkpoint(folder: Path, sign: Path) -> Checkpoint:
    created = datetime.fromtimestamp(int(sign.stat().st_mtime), UTC)
    return Checkpoint(name=folder.name, path=str(folder.resolve()), created_at=created.isoformat())


def _numbers_as_numbers(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def choose(model: ModelSpec, name: str | None, settings: Settings) -> Checkpoint | None:
    """The checkpoint called `name`, or the newest one; None for a model without checkpoints."""
    found = available(model, settings)
    if model.checkpoints is None:
        if name is not None:
            raise UnknownName("checkpoint", name, [], hint=f"Model {model.name!r} has no `checkpoints` in its YAML.")
        return None
    if not found:
        pattern = f"{model.checkpoints.path}/{model.checkpoints.pattern}"
        raise MissingWeights(
            f"model {model.name!r}: no folder with a config.json or adapter_config.json matches {pattern!r}"
        )
    if name is None:
        return found[-1]
    for checkpoint in found:
        if checkpoint.name == name:
            return checkpoint
    raise UnknownName(f"checkpoint of model {model.name!r}", name, [c.name for c in found])
