"""Models of the hub, from a server of our own that speaks as the hub does."""

import hashlib
import json
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from llm_eval.backends.transformers import TransformersModel, loading
from llm_eval.errors import BackendLost, InputError, InvalidData, UnsupportedRequest
from tests.backends.test_pairs import dataset

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, models, monkeypatch):
    """A hub whose `folder` holds org/tiny at COMMIT, one file of it perhaps `broken`; `asked`: what was fetched."""
    import huggingface_hub.constants as constants

    class Hub(BaseHTTPRequestHandler):
        folder = models / "llama"
        broken: str | None = None
        asked: list[str] = []  # noqa: RUF012 - of all requests

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = urllib.parse.urlparse(self.path).path
            name = path.rpartition("/")[2]
            if path.startswith(f"/api/models/org/tiny/tree/{COMMIT}"):
                sizes = {file.name: file.stat().st_size for file in Hub.folder.iterdir()}
                tree = [{"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes.items()]
                body = json.dumps(tree if path.endswith(COMMIT) else []).encode()
            elif path.startswith("/api/models/org/tiny"):
                files = [{"rfilename": file.name} for file in Hub.folder.iterdir()]
                body = json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": files}).encode()
            elif path == f"/org/tiny/resolve/{COMMIT}/{name}" and name != Hub.broken and (Hub.folder / name).is_file():
                body = (Hub.folder / name).read_bytes()
                if with_body:
                    Hub.asked.append(name)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
    yield Hub
    server.shutdown()


def test_a_model_of_the_hub_is_checked_by_its_small_files_alone(hub, spec, settings):
    TransformersModel.check(spec("org/tiny"), None, dataset(), settings)
    assert hub.asked == ["config.json"]


def test_a_chat_models_template_is_looked_for_on_the_hub_too(hub, spec, settings, models):
    TransformersModel.check(spec("org/tiny", chat=True), None, dataset(), settings)
    hub.folder = models / "gpt2"
    with pytest.raises(InputError, match=f"the tokenizer of org/tiny@{COMMIT} has no chat template"):
        TransformersModel.check(spec("org/tiny", chat=True), None, dataset(), settings)
    assert "model.safetensors" not in hub.asked


def test_what_a_model_of_the_hub_cannot_answer_is_refused_before_it_is_fetched(hub, spec, settings):
    with pytest.raises(UnsupportedRequest, match="the model's context of 192"):
        TransformersModel.check(spec("org/tiny"), None, dataset(max_tokens=500), settings)
    assert hub.asked == ["config.json"]


def test_a_model_of_the_hub_is_fetched_and_loaded_at_its_commit(hub, spec, settings):
    loaded = loading.load(spec("org/tiny"), None, settings)
    assert loaded.vocabulary == 360
    assert "model.safetensors" in hub.asked


def test_weights_of_the_hub_are_checked_once_they_are_here(hub, spec, settings, copy_of):
    hub.folder = copy_of("llama")
    weights = hub.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InvalidData, match=r"model 'tiny': .*model\.safetensors is half-written"):
        loading.load(spec("org/tiny"), None, settings)


def test_a_hub_that_goes_away_meanwhile_is_tried_again_later(hub, spec, settings):
    hub.broken = "model.safetensors"
    with pytest.raises(BackendLost, match=r"went away while model\.safetensors of org/tiny@.* was fetched"):
        loading.load(spec("org/tiny"), None, settings)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_of_the_hub_is_fetched_without_anything_else_it_holds(hub, spec, settings, tmp_path, models):
    import peft
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(models / "llama")
    hub.folder = tmp_path / "adapter"
    peft.get_peft_model(network, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(hub.folder)
    (hub.folder / "adapter_model.bin").write_bytes(b"a pickle, perhaps")
    loaded = loading.load(spec("llama", adapter_path="org/tiny"), None, settings)
    assert loaded.vocabulary == 360
    assert set(hub.asked) == {"adapter_config.json", "adapter_model.safetensors"}
