"""Where a model's files are and what they are: a local folder, or one commit of the Hugging Face hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from llm_eval.backends import hub
from llm_eval.backends.places import Place
from llm_eval.backends.weight_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, AGAIN, WEIGHTS, weight_map
from llm_eval.errors import BackendLost, InputError, MissingWeights
from llm_eval.fingerprint import fingerprint, sha256_hex
from llm_eval.settings import Settings, find
from llm_eval.specs import Checkpoint, ModelSpec, TransformersBackend

SMALL_FILE_BYTES = 1 << 20  # below this a file's content is hashed; above, size and modification time stand for it

_TOKENIZER = re.compile(r"tokenizer.*\.json|.+\.model|vocab\..+|tokenization_.+\.py")


@dataclass(frozen=True, slots=True)
class Places:
    """The weights of a model, its tokenizer, and the adapter to lay over the weights, if there is one."""

    model: Place
    tokenizer: Place
    adapter: Place | None = None


def owner_of(model: ModelSpec, checkpoint: Checkpoint | None) -> str:
    """How messages call it."""
    return f"model {model.name!r}" + (f", checkpoint {checkpoint.name!r}" if checkpoint else "")


def places(model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings) -> Places:
    """Where a model's files are. Raises MissingWeights if anything needed is not there.

    A checkpoint is a whole model in place of the model's own, or an adapter to lay over it. The tokenizer is the one
    named, else the adapter's own (training may have added tokens), else the one beside the weights.
    """
    spec = cast(TransformersBackend, model.backend)
    owner = owner_of(model, checkpoint)
    given = None if checkpoint is None else _locate(checkpoint.path, checkpoint.revision, owner, settings)
    adapter = given if given is not None and _is_adapter(given) else None
    if adapter is not None and spec.adapter_path is not None:
        raise InputError(
            f"{owner}: {adapter} is an adapter, and backend.adapter_path names another, {spec.adapter_path!r}. "
            "Two adapters cannot be laid over each other; leave backend.adapter_path out."
        )
    whole = given if adapter is None else None
    base = whole or _locate(spec.path, spec.revision, owner, settings)
    if spec.adapter_path is not None:
        adapter = _locate(spec.adapter_path, None, owner, settings)
    _check_weights(base, owner)
    if adapter is not None:
        _check_adapter(adapter, owner)
    return Places(base, _tokenizer(spec, base, adapter, owner, settings), adapter)


def identity(place: Place) -> str:
    """The hub commit; for a folder a fingerprint of its files, other after any of them was written again.

    Counts the files directly in the folder: what lies deeper (a trainer's other checkpoints) is not loaded.
    """
    if place.commit is not None or place.folder is None:
        return str(place)
    return fingerprint([_file_identity(place.folder / name) for name in sorted(place.files)])


def weights_of(place: Place) -> str | None:
    """The name of the file, one of WEIGHTS, that transformers would begin with; None if there is none."""
    return next((name for name in WEIGHTS if name in place.files), None)


def here(place: Place, owner: str) -> Place:
    """A model's place with its weights on this machine, fetched from the hub where they must be.

    Raises BackendLost if the hub goes away meanwhile.
    """
    file = weights_of(place)
    if place.folder is not None or file is None:
        return place
    first = _fetched(place, file, owner)
    if file.endswith(".index.json"):
        for shard in sorted(set(weight_map(first, owner).values())):
            _fetched(place, shard, owner)
    return replace(place, folder=first.parent)


def _fetched(place: Place, file: str, owner: str) -> Path:
    path = hub.fetched(place, file)
    if path is None:
        raise BackendLost(f"{owner}: the hub went away while {file} of {place} was fetched")
    return path


def _file_identity(path: Path) -> list[str | int]:
    stat = path.stat()
    content = sha256_hex(path.read_bytes()) if stat.st_size < SMALL_FILE_BYTES else ""
    return [path.name, stat.st_size, stat.st_mtime_ns, content]


def _tokenizer(spec: TransformersBackend, base: Place, adapter: Place | None, owner: str, settings: Settings) -> Place:
    if spec.tokenizer_path is not None:
        place = _locate(spec.tokenizer_path, None, owner, settings)
    else:
        # Without this file, what kind of tokenizer it is stands in the config.json that an adapter has not.
        own = adapter is not None and _has_tokenizer(adapter) and "tokenizer_config.json" in adapter.files
        place = adapter if adapter is not None and own else base
    if not _has_tokenizer(place):
        raise MissingWeights(
            f"{owner}: {place} holds no tokenizer (tokenizer.json, tokenizer.model, vocab.json, …). "
            "Save the tokenizer beside the weights, or name its folder as backend.tokenizer_path."
        )
    return place


def _has_tokenizer(place: Place) -> bool:
    return any(_TOKENIZER.fullmatch(name) for name in place.files)


def _locate(path: str, revision: str | None, owner: str, settings: Settings) -> Place:
    """A folder of that name where there is one, else the hub's repository. Raises MissingWeights."""
    if find(path, settings.models) is not None or not hub.is_id(path):
        return _folder(path, owner, settings)
    return hub.commit_of(
        path, revision or "main", f"{owner}: there is no folder {path!r} (looked at {_looked(path, settings)}), and"
    )


def _folder(path: str, owner: str, settings: Settings) -> Place:
    found = find(path, settings.models)
    if found is None:
        raise MissingWeights(
            f"{owner}: there is no folder {path!r}, and it is not a hub id of the form organisation/name. "
            f"Looked at: {_looked(path, settings)}. Fix the path, or set LLM_EVAL_MODELS to the folder that holds it."
        )
    if not found.is_dir():
        raise MissingWeights(f"{owner}: {found} is a file; a folder with config.json and weights is needed")
    return Place.at(found)


def _looked(path: str, settings: Settings) -> str:
    return path if Path(path).is_absolute() else ", ".join(str(f / path) for f in settings.models) or "nowhere"


def _is_adapter(place: Place) -> bool:
    return ADAPTER_CONFIG in place.files and weights_of(place) is None


def _check_weights(place: Place, owner: str) -> None:
    if _is_adapter(place):
        raise MissingWeights(
            f"{owner}: {place} holds an adapter, not a whole model. Name it as backend.adapter_path, and the model it "
            f"was trained on ({ADAPTER_CONFIG}: base_model_name_or_path) as backend.path."
        )
    if "config.json" not in place.files:
        raise MissingWeights(f"{owner}: {place} has no config.json, so it is not a transformers model.")
    loaded = weights_of(place)
    if loaded is None:
        raise MissingWeights(f"{owner}: {place} has no weights ({' or '.join(WEIGHTS)}). {AGAIN}")
    if ADAPTER_CONFIG in place.files:
        # transformers would lay it over whatever model its config names, without a word.
        raise InputError(
            f"{owner}: {place} holds a whole model and an adapter ({ADAPTER_CONFIG}). Move the adapter to a folder of "
            "its own, and name that as backend.adapter_path if it is meant to be used."
        )
    if loaded.endswith(".index.json") and place.folder is not None:
        absent = sorted(set(weight_map(place.folder / loaded, owner).values()) - place.files)
        if absent:
            raise MissingWeights(
                f"{owner}: {place.folder / loaded} names weight files that are not there: {', '.join(absent)}. {AGAIN}"
            )


def _check_adapter(place: Place, owner: str) -> None:
    if ADAPTER_CONFIG not in place.files:
        raise MissingWeights(f"{owner}: {place} has no {ADAPTER_CONFIG}, so it is not a PEFT adapter")
    if ADAPTER_WEIGHTS in place.files:
        return
    if "adapter_model.bin" in place.files:
        raise MissingWeights(
            f"{owner}: {place} holds its adapter as a pickle, adapter_model.bin, which may run code when it is opened. "
            f"Save it again as {ADAPTER_WEIGHTS}: peft's save_pretrained does so by default."
        )
    raise MissingWeights(f"{owner}: {place} has no {ADAPTER_WEIGHTS}. {AGAIN}")
