"""The models of the zoo, each saved and loaded once, asked through the backend and read one sequence at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from llm_eval.backends.transformers import TransformersModel
from llm_eval.records import Request, Response
from llm_eval.specs import Generation
from tests.backends.exactness.backend import by_attempt, opened
from tests.backends.exactness.reference import Expected, Reference
from tests.backends.exactness.saving import save
from tests.backends.exactness.zoo import ZOO

Zoo = Callable[[str], Path]


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """zoo(name): the folder of a model."""
    root = tmp_path_factory.mktemp("zoo")

    @cache
    def folder_of(name: str) -> Path:
        save(ZOO[name], root / name)
        return root / name

    return folder_of


@pytest.fixture(scope="session")
def reference(zoo: Zoo) -> Callable[..., Reference]:
    """reference(name, context_tokens=None): the model, read plainly."""
    return cache(lambda name, context_tokens=None: Reference(zoo(name), context_tokens))


@pytest.fixture(scope="session")
def expected(reference: Callable[..., Reference]) -> Callable[..., dict[str, Expected]]:
    """expected(name, requests, generation, context_tokens=None): answers of a plain reading, by request id."""

    @cache
    def answer(name: str, request: Request, generation: str, context_tokens: int | None) -> Expected:
        return reference(name, context_tokens).answer(request, Generation.model_validate_json(generation))

    def of(
        name: str,
        requests: Sequence[Request],
        generation: Generation | None = None,
        context_tokens: int | None = None,
    ) -> dict[str, Expected]:
        written = generation or Generation()
        return {
            # Nothing but a written answer depends on how it is to be written.
            r.id: answer(name, r, (written if r.kind == "generate" else Generation()).model_dump_json(), context_tokens)
            for r in requests
        }

    return of


@pytest.fixture(scope="session")
def asked(zoo: Zoo) -> Callable[..., dict[tuple[str, int], Response]]:
    """asked(name, requests, generation, **backend): responses by (request id, attempt); backend as of `opened`.

    `name` is a model of the zoo, or a folder.
    """

    def answers(
        name: str | Path, requests: Sequence[Request], generation: Generation | None = None, **backend: object
    ) -> dict[tuple[str, int], Response]:
        model = opened(name if isinstance(name, Path) else zoo(name), **backend)
        try:
            return by_attempt(model.answer(requests, generation or Generation()))
        finally:
            model.close()

    return answers


@pytest.fixture(scope="session")
def kept_open(zoo: Zoo) -> Iterator[Callable[[str], TransformersModel]]:
    """kept_open(name): one and the same model for many small questions."""
    models: dict[str, TransformersModel] = {}

    def model(name: str) -> TransformersModel:
        if name not in models:
            models[name] = opened(zoo(name), chat=True)
        return models[name]

    yield model
    for one in models.values():
        one.close()
