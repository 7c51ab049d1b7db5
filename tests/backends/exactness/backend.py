"""The backend under test, through what every stage uses of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llm_eval.backends.transformers import TransformersModel
from llm_eval.records import Response
from llm_eval.settings import Settings
from tests.backends.tiny_models import model_spec


def opened(folder: Path, **backend: object) -> TransformersModel:
    """The model of a folder; keywords as of `model_spec`."""
    settings = Settings(root=str(folder), catalogs=(), datasets=(), models=())
    return TransformersModel.open(model_spec(folder, **backend), None, "demo", settings)


def by_attempt(responses: Iterable[Response]) -> dict[tuple[str, int], Response]:
    """By (request id, attempt); no attempt twice."""
    found: dict[tuple[str, int], Response] = {}
    for response in responses:
        key = (response.request_id, response.attempt)
        assert key not in found, f"{key} answered twice"
        found[key] = response
    return found
