"""Identity of weights: nothing is loaded here."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from llm_eval.backends.transformers import TransformersModel, loading
from llm_eval.backends.weights import places
from llm_eval.errors import InputError, InvalidData, MissingWeights
from llm_eval.settings import Settings
from llm_eval.specs import Checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def identity(spec, settings):
    """identity(path, checkpoint, **backend)."""

    def of(path, checkpoint=None, **keywords) -> str:
        return TransformersModel.identity(spec(path, **keywords), checkpoint, "demo", settings)

    return of


def checkpoint(path: object) -> Checkpoint:
    return Checkpoint(name="step-1", path=str(path), created_at="2026-01-01T00:00:00Z")


def rewritten(path, text: str) -> None:
    """Same size and modification time where `text` has the file's length: only the content tells."""
    stat = path.stat()
    path.write_text(text)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_same_folder_is_the_same_by_relative_and_absolute_path_and_as_checkpoint(identity, models):
    assert identity("llama") == identity(models / "llama") == identity("elsewhere", checkpoint("llama"))


def test_weights_written_again_are_other_weights(identity, copy_of):
    folder = copy_of("llama")
    before = identity(folder)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert identity(folder) != before


def test_a_small_file_is_told_by_its_content_too(identity, copy_of):
    folder = copy_of("llama")
    before = identity(folder)
    config = (folder / "config.json").read_text()
    rewritten(folder / "config.json", config.replace('"silu"', '"gelu"'))
    changed = identity(folder)
    rewritten(folder / "config.json", config)
    assert changed != before
    assert identity(folder) == before


def test_what_lies_in_folders_below_is_no_part_of_it(identity, copy_of):
    folder = copy_of("llama")
    before = identity(folder)
    (folder / "checkpoint-2").mkdir()
    (folder / "checkpoint-2" / "model.safetensors").write_bytes(b"x")
    assert identity(folder) == before


@pytest.mark.parametrize(
    "change", [{"dtype": "bfloat16"}, {"trust_remote_code": True}, {"tokenizer_path": "gpt2"}, {"context_tokens": 64}]
)
def test_what_changes_answers_changes_the_identity(identity, change):
    assert identity("llama", **change) != identity("llama")


@pytest.mark.parametrize(
    "change", [{"batch_tokens": 2}, {"device": "cuda:1"}, {"device": "auto", "device_map": "auto"}]
)
def test_how_it_is_computed_does_not_change_the_identity(identity, change):
    assert identity("llama", **change) == identity("llama")


@pytest.mark.parametrize("path", ["not-here", "/not/here", "../not-here", "a/b/c"])
def test_a_path_that_is_no_folder_and_no_hub_id_is_missing(identity, path):
    with pytest.raises(
        MissingWeights, match=re.escape(f"model 'tiny': there is no folder {path!r}, and it is not a hub id")
    ):
        identity(path)


def test_the_message_names_every_place_looked_at(identity, tmp_path, models):
    with pytest.raises(MissingWeights) as raised:
        identity("not-here")
    assert f"{tmp_path / 'not-here'}, {models / 'not-here'}" in str(raised.value)


def test_a_missing_checkpoint_folder_is_named_and_never_looked_for_on_the_hub(identity):
    with pytest.raises(MissingWeights, match="model 'tiny', checkpoint 'step-1': there is no folder 'runs/step-1'"):
        identity("llama", checkpoint("runs/step-1"))


@pytest.mark.parametrize(
    ("absent", "complaint"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "has no weights .*Fetch or copy it again"),
        ("tokenizer*", "holds no tokenizer .*backend.tokenizer_path"),
    ],
)
def test_a_folder_that_lacks_something_is_missing_before_anything_is_loaded(identity, copy_of, absent, complaint):
    folder = copy_of("llama")
    for path in folder.glob(absent):
        path.unlink()
    with pytest.raises(MissingWeights, match=complaint):
        identity(folder)


def test_a_checkpoint_without_a_tokenizer_uses_the_one_named(identity, copy_of, models):
    folder = copy_of("llama")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert identity("llama", checkpoint(folder), tokenizer_path=str(models / "llama"))


@pytest.fixture
def adapter(tmp_path):
    """adapter(name): a folder that looks like one, and is never opened here."""

    def made(name="lora"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / file).write_text(name)
        return folder

    return made


def test_an_adapter_is_a_part_of_what_answers(identity, adapter):
    adapter("one")
    adapter("two")
    assert len({identity("llama", adapter_path=name) for name in (None, "one", "two")}) == 3


def test_an_adapter_written_again_is_another_one(identity, adapter):
    folder = adapter()
    before = identity("llama", adapter_path="lora")
    (folder / "adapter_model.safetensors").write_text("other")
    assert identity("llama", adapter_path="lora") != before


def test_a_checkpoint_may_be_an_adapter_of_the_models_own_weights(identity, adapter):
    folder = adapter()
    assert identity("llama", checkpoint(folder)) == identity("llama", adapter_path="lora")


def test_an_adapter_may_be_laid_over_a_checkpoint(identity, adapter):
    adapter()
    assert identity("elsewhere", checkpoint("llama"), adapter_path="lora") == identity("llama", adapter_path="lora")


def test_two_adapters_at_once_are_refused(identity, adapter):
    with pytest.raises(
        InputError, match=r"'step-1': .*one is an adapter, and backend.adapter_path names another, 'two'"
    ):
        identity("llama", checkpoint(adapter("one")), adapter_path=adapter("two").name)


def test_a_tokenizer_saved_with_an_adapter_is_the_one_it_was_trained_with(adapter, spec, settings, models):
    folder = adapter()
    assert places(spec("llama", adapter_path="lora"), None, settings).tokenizer.folder == models / "llama"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(models / "gpt2" / name, folder)
    assert places(spec("llama", adapter_path="lora"), None, settings).tokenizer.folder == folder
    named = spec("llama", adapter_path="lora", tokenizer_path="llama-bos")
    assert places(named, None, settings).tokenizer.folder == models / "llama-bos"


def test_an_adapter_in_place_of_a_model_is_told_from_one(identity, adapter):
    with pytest.raises(MissingWeights, match=r"holds an adapter, not a whole model\. Name it as backend\.adapter_path"):
        identity(adapter())


def test_a_folder_that_is_both_a_model_and_an_adapter_is_refused(identity, copy_of):
    folder = copy_of("llama")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds a whole model and an adapter .*Move the adapter"):
        identity(folder)


@pytest.mark.parametrize(
    ("absent", "instead", "complaint"),
    [
        ("adapter_config.json", None, "has no adapter_config.json, so it is not a PEFT adapter"),
        ("adapter_model.safetensors", None, "has no adapter_model.safetensors.* cut short"),
        ("adapter_model.safetensors", "adapter_model.bin", "as a pickle, adapter_model.bin, which may run code"),
    ],
)
def test_an_adapter_that_lacks_something_is_missing(identity, adapter, absent, instead, complaint):
    folder = adapter()
    (folder / absent).unlink()
    if instead:
        (folder / instead).write_bytes(b"")
    with pytest.raises(MissingWeights, match=complaint):
        identity("llama", adapter_path="lora")


def test_an_adapter_that_is_not_there_is_missing(identity):
    with pytest.raises(MissingWeights, match="model 'tiny': there is no folder 'lora'"):
        identity("llama", adapter_path="lora")


def test_a_file_is_no_folder(identity, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"")
    with pytest.raises(MissingWeights, match=r"model\.gguf is a file"):
        identity("model.gguf")


def test_weight_files_that_the_index_names_must_be_there(identity, copy_of):
    folder = copy_of("llama")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(MissingWeights, match=r"not there: model-00002-of-00002\.safetensors\."):
        identity(folder)
    (folder / "model.safetensors.index.json").write_text("{")
    with pytest.raises(InvalidData, match=r"index\.json is not a readable index"):
        identity(folder)


@pytest.fixture
def hub_cache(tmp_path, models, monkeypatch):
    """A hub cache that holds org/tiny at COMMIT as main, and no network."""
    import huggingface_hub.constants

    repository = tmp_path / "hub" / "models--org--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for file in (models / "llama").iterdir():
        (snapshot / file.name).symlink_to(file)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_without_a_network_a_hub_id_is_the_commit_that_the_cache_knows(identity, hub_cache):
    assert identity("org/tiny") == identity("org/tiny", revision="main") == identity("org/tiny", revision=COMMIT)
    other = "f" * 40
    (hub_cache.parent.parent / "refs" / "main").write_text(other)
    hub_cache.rename(hub_cache.parent / other)
    assert identity("org/tiny") == identity("org/tiny", revision=other)
    with pytest.raises(MissingWeights):
        identity("org/tiny", revision=COMMIT)


def test_a_hub_id_that_cannot_be_reached_is_missing_with_the_next_step(identity, hub_cache):
    with pytest.raises(MissingWeights, match=r"cannot be reached .*hf download org/other --revision main"):
        identity("org/other")
    with pytest.raises(MissingWeights, match="has no revision 'v2'"):
        identity("org/tiny", revision="v2")


def test_a_half_cached_repository_is_missing(identity, hub_cache):
    (hub_cache / "model.safetensors").unlink()
    with pytest.raises(MissingWeights, match=re.escape(f"org/tiny@{COMMIT} has no weights")):
        identity("org/tiny")


def test_a_folder_under_the_models_goes_before_the_hub(identity, hub_cache, copy_of, tmp_path):
    from_hub = identity("org/tiny")
    copy_of("llama")
    (tmp_path / "org").mkdir()
    (tmp_path / "llama").rename(tmp_path / "org" / "tiny")
    assert identity("org/tiny") == identity(tmp_path / "org" / "tiny") != from_hub


def test_a_model_of_the_hub_cache_opens_at_its_commit(spec, settings, hub_cache):
    loaded = loading.load(spec("org/tiny"), None, settings)
    assert loaded.model.config.name_or_path == "org/tiny"
    assert loaded.vocabulary == 360


def test_identity_imports_neither_torch_nor_transformers(spec, models):
    code = (
        "import sys; from llm_eval.backends.transformers import TransformersModel as T\n"
        "from llm_eval.specs import ModelSpec; from llm_eval.settings import Settings; from pathlib import Path\n"
        f"model = ModelSpec.model_validate_json({spec('llama').model_dump_json()!r})\n"
        f"T.identity(model, None, 'demo', Settings('r', (), (), (Path({str(models)!r}),)))\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_models_folder_at_all_says_so(spec):
    nowhere = Settings(root="r", catalogs=(), datasets=(), models=())
    with pytest.raises(MissingWeights, match="Looked at: nowhere"):
        TransformersModel.identity(spec("llama"), None, "demo", nowhere)
