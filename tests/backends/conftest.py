"""Tiny models, built once per session, and what opens and asks them."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

from llm_eval.backends.openai import asking
from llm_eval.backends.transformers import TransformersModel, libraries
from llm_eval.records import Message, Request, Response, Shot
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint, Generation, ModelSpec
from tests.backends.served import KEY
from tests.backends.tiny_models import SENTENCES, model_spec, save_gpt2, save_llama


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries of what a server does wrong; also sets the key that the tests' servers are asked with."""
    monkeypatch.setattr(asking, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(asking, "LONGEST_PAUSE", 0.05)
    monkeypatch.setenv("SERVER_KEY", KEY)


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """What the tokenizers were trained on."""
    return SENTENCES


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with llama (no BOS), llama-bos (tokenizer adds one) and gpt2 (absolute positions, no padding token)."""
    libraries.for_models()  # as in a run: what the tests then import is what a run has
    folder = tmp_path_factory.mktemp("models")
    save_llama(folder / "llama", adds_bos=False)
    save_llama(folder / "llama-bos", adds_bos=True)
    save_gpt2(folder / "gpt2")
    return folder


@pytest.fixture
def copy_of(models: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a copy of one of the models that a test may spoil."""

    def copy(name: str) -> Path:
        shutil.copytree(models / name, tmp_path / name)
        return tmp_path / name

    return copy


@pytest.fixture
def settings(models: Path, tmp_path: Path) -> Settings:
    """Datasets and models are looked for in the test's own folder; models after that among the tiny ones."""
    return Settings(root=str(tmp_path / "root"), catalogs=(), datasets=(tmp_path,), models=(tmp_path, models))


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    return model_spec


@pytest.fixture
def load(settings: Settings) -> Iterator[Callable[..., TransformersModel]]:
    """Opens a model; keywords as of `spec`. All are closed when the test ends."""
    opened: list[TransformersModel] = []

    def open_model(path: object, checkpoint: Checkpoint | None = None, **keywords: object) -> TransformersModel:
        model = TransformersModel.open(model_spec(path, **keywords), checkpoint, "demo", settings)
        opened.append(model)
        return model

    yield open_model
    for model in opened:
        model.close()


@pytest.fixture
def ask(load: Callable[..., TransformersModel]) -> Callable[..., dict[tuple[str, int], Response]]:
    """Responses by (request id, attempt); `generation` is a dict, other keywords as of `spec`."""

    def answers(
        path: object, requests: list[Request], generation: dict[str, object] | None = None, **keywords: object
    ) -> dict[tuple[str, int], Response]:
        responses = list(load(path, **keywords).answer(requests, Generation.model_validate(generation or {})))
        found = {(r.request_id, r.attempt): r for r in responses}
        assert len(found) == len(responses), "answered twice"
        return found

    return answers


def _request(id: str, kind: str, text: str, continuations: tuple[str, ...] = (), **fields: object) -> Request:
    return Request(id, f"sample-{id}", kind, text=text, continuations=continuations, **fields)


@pytest.fixture
def request_of() -> Callable[..., Request]:
    """request_of(id, kind, text, continuations, **fields)."""
    return _request


@pytest.fixture
def conversation_of() -> Callable[..., Request]:
    """conversation_of(id, kind, *(role, content), **fields)."""

    def conversation(id: str, kind: str, *turns: tuple[str, str], **fields: object) -> Request:
        return Request(id, f"sample-{id}", kind, messages=tuple(Message(*turn) for turn in turns), **fields)

    return conversation


@pytest.fixture
def shots() -> tuple[Shot, ...]:
    """Three examples of about twenty tokens each."""
    return tuple(Shot(f"Question: which is a mammal, number {i}? Answer:", f" the whale {i}.\n\n") for i in range(3))
