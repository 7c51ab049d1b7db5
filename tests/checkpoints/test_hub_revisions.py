"""Checkpoints that are branches and tags of a hub repository, from a server of our own that speaks as the hub does."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from llm_eval.checkpoints import Registry, available, choose, discover
from llm_eval.errors import MissingWeights
from tests.checkpoints.conftest import BACKEND

DATES = {"a": "2026-01-03T00:00:00.000Z", "b": "2026-01-01T00:00:00.000Z", "c": "2026-01-02T00:00:00.000Z"}


@pytest.fixture
def hub(monkeypatch):
    """A hub with org/tiny: `branches` and `tags` are names and commits of one letter; `asked`: whose commits were."""
    import huggingface_hub.constants as constants

    class Hub(BaseHTTPRequestHandler):
        branches: dict[str, str] = {"main": "a", "step1000": "a", "step900": "b"}  # noqa: RUF012 - of all requests
        tags: dict[str, str] = {"runs/step950": "c"}  # noqa: RUF012
        asked: list[str] = []  # noqa: RUF012

        def do_GET(self) -> None:
            place = self.path.partition("?")[0].removeprefix("/api/models/org/tiny/")
            kind, _, commit = place.partition("/")
            if kind == "refs":
                named = {"branches": Hub.branches, "tags": Hub.tags, "converts": {}}
                answer = {
                    key: [{"name": name, "ref": f"refs/{name}", "targetCommit": sha} for name, sha in refs.items()]
                    for key, refs in named.items()
                }
            elif kind == "commits":
                Hub.asked.append(commit)
                answer = [{"id": commit, "authors": [], "date": DATES[commit], "title": "t", "message": ""}]
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def pythia(house):
    """A model whose checkpoints are the hub's revisions called step…, or …/step…"""
    backend = {**BACKEND, "path": "org/tiny"}
    house.model(name="pythia", backend=backend, checkpoints={"kind": "hub", "pattern": "*step*"})
    return house.catalog.model("pythia")


def test_matching_branches_and_tags_are_checkpoints_in_the_order_of_their_commits(house, hub, pythia):
    found = available(pythia, house.settings)

    assert [(c.name, c.revision, c.path) for c in found] == [
        ("step900", "b", "org/tiny"),
        ("runs-step950", "c", "org/tiny"),
        ("step1000", "a", "org/tiny"),
    ]
    assert found[0].created_at == "2026-01-01T00:00:00+00:00"
    assert choose(pythia, None, house.settings).name == "step1000"


def test_a_registered_revision_keeps_its_commit_and_is_not_asked_for_again(house, hub, pythia):
    discover(pythia, house.settings)
    assert sorted(hub.asked) == ["a", "b", "c"]  # and not for main, which no pattern asks for
    hub.asked.clear()
    hub.branches = {**hub.branches, "step900": "a", "step1100": "a"}

    assert [c.name for c in discover(pythia, house.settings)] == ["step1100"]
    assert hub.asked == ["a"]
    kept = {c.name: c.revision for c in Registry.of(house.settings.root, "pythia").entries()}
    assert kept == {"step900": "b", "runs-step950": "c", "step1000": "a", "step1100": "a"}
    moments = [c.created_at for c in Registry.of(house.settings.root, "pythia").entries()]
    assert len(set(moments)) == len(moments)  # two revisions of one commit share no time


def test_a_hub_that_does_not_know_the_repository_is_named(house, hub):
    house.model(name="typo", backend={**BACKEND, "path": "org/tyni"}, checkpoints={"kind": "hub"})

    with pytest.raises(MissingWeights, match=r"model 'typo': .*'org/tyni' \(RepositoryNotFoundError"):
        discover(house.catalog.model("typo"), house.settings)


def test_what_is_registered_is_evaluated_while_the_hub_is_away(house, hub, pythia, monkeypatch):
    discover(pythia, house.settings)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")

    assert choose(pythia, None, house.settings).name == "step1000"
