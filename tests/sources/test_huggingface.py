import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from llm_eval import sampling, sources
from llm_eval.errors import InvalidData, MissingSource, StorageError
from llm_eval.specs import ResolvedSource
from tests.builders import rows

HUB = {"kind": "huggingface", "path": "owner/colours", "split": "test", "few_shot_split": "dev"}


def parquet(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(lines), path)


@pytest.fixture
def flat(house):
    """One unnamed configuration, files told apart by their names, as the hub writes them."""
    folder = house.data / "owner" / "colours"
    parquet(folder / "data" / "test-00000-of-00002.parquet", rows(4)[:3])
    parquet(folder / "data" / "test-00001-of-00002.parquet", rows(4)[3:])
    parquet(folder / "data" / "dev-00000-of-00001.parquet", rows(2))
    house.dataset(sources=[HUB])
    return house


@pytest.fixture
def by_subset(house):
    """One configuration per subset, declared in the README's header."""
    folder = house.data / "owner" / "colours"
    configs = []
    for subset in ("law", "logic"):
        for split, count in (("test", 2), ("dev", 1)):
            parquet(folder / subset / f"{split}-00000-of-00001.parquet", rows(count, kind=subset))
        files = [{"split": split, "path": f"{subset}/{split}-*"} for split in ("test", "dev")]
        configs.append({"config_name": subset, "data_files": files})
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n# Colours\n")
    house.dataset(sources=[{**HUB, "config": "{subset}"}], subsets=["law", "logic"])
    return house


def resolve(house):
    return sources.resolve(house.catalog.dataset("colours"), house.settings)


def read(house):
    return sources.read(house.catalog.dataset("colours"), resolve(house), house.settings)


def test_a_folder_in_the_hubs_layout_gives_plain_rows_in_file_order(flat):
    raw = read(flat)

    assert [row for _, row in raw.questions] == rows(4)
    assert [row for _, row in raw.few_shot] == rows(2)


def test_a_configuration_per_subset(by_subset):
    raw = read(by_subset)

    assert [(subset, row["kind"], row["id"]) for subset, row in raw.questions] == [
        ("law", "law", 0),
        ("law", "law", 1),
        ("logic", "logic", 0),
        ("logic", "logic", 1),
    ]
    assert [subset for subset, _ in raw.few_shot] == ["law", "logic"]


def test_the_same_samples_come_out_as_from_a_file(flat):
    from_hub = sampling.to_samples(flat.catalog.dataset("colours"), read(flat).questions)
    flat.jsonl("colours.jsonl", rows(4))
    flat.dataset()

    assert sampling.to_samples(flat.catalog.dataset("colours"), read(flat).questions) == from_hub


def test_a_folder_is_pinned_by_the_hash_of_every_file(by_subset):
    pinned = resolve(by_subset)

    assert pinned.revision is None
    assert [file.path for file in pinned.files] == [
        "owner/colours/README.md",
        "owner/colours/law/dev-00000-of-00001.parquet",
        "owner/colours/law/test-00000-of-00001.parquet",
        "owner/colours/logic/dev-00000-of-00001.parquet",
        "owner/colours/logic/test-00000-of-00001.parquet",
    ]


def test_a_folder_changed_after_planning_is_refused(flat):
    dataset, pinned = flat.catalog.dataset("colours"), resolve(flat)
    parquet(flat.data / "owner/colours/data/test-00001-of-00002.parquet", rows(9)[8:])

    with pytest.raises(InvalidData, match=r"changed since the run was planned: owner/colours/data/test-00001"):
        sources.read(dataset, pinned, flat.settings)


def test_code_in_the_folder_is_never_run(flat):
    witness = flat.folder / "witness"
    (flat.data / "owner/colours/colours.py").write_text(f"open({str(witness)!r}, 'w').write('run')\n")

    with pytest.raises(InvalidData, match=r"no longer supported.*Name a copy that is data only"):
        read(flat)

    assert not witness.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"split": "val"}, "split 'val': cannot be read: .*Available splits"), ({"config": "main"}, "'main' not found")],
)
def test_a_split_or_configuration_that_is_not_there_is_named(flat, change, message):
    flat.dataset(sources=[{**HUB, **change}])

    with pytest.raises(InvalidData, match=message):
        read(flat)


def test_a_broken_file_is_an_input_error_and_not_retried(flat):
    (flat.data / "owner/colours/data/dev-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")

    with pytest.raises(InvalidData, match="split 'dev': cannot be read"):
        read(flat)


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine that answers every question with `hub.reply`: (HTTP status, hub's error code, JSON)."""
    import huggingface_hub.constants

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, code, answer = server.reply
            server.asked.append(self.path)
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_hub_dataset_is_pinned_to_the_commit_that_its_revision_stands_for(house, hub):
    hub.reply = (200, None, {"id": "owner/colours", "sha": "c0ffee"})
    house.dataset(sources=[{**HUB, "revision": "v2"}])

    pinned = resolve(house)

    assert (pinned.revision, pinned.files) == ("c0ffee", ())
    assert hub.asked[-1] == "/api/datasets/owner/colours/revision/v2"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((404, "RepoNotFound", {}), r"the hub has no such dataset \(or shows it only with a token\)"),
        ((404, "RevisionNotFound", {}), "the hub's dataset has no revision 'v2'"),
        ((501, None, {}), "the hub cannot be reached .*501"),
    ],
)
def test_what_the_hub_refuses_is_told_apart(house, hub, reply, message):
    hub.reply = reply
    house.dataset(sources=[{**HUB, "revision": "v2"}])

    with pytest.raises(MissingSource, match=f"(?s)huggingface owner/colours: .*{message}"):
        resolve(house)


def test_a_hub_that_cannot_be_reached_is_said_so(house, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    house.dataset(sources=[HUB])

    with pytest.raises(MissingSource, match=r"huggingface owner/colours: .*the hub cannot be reached.*hf download"):
        resolve(house)


@pytest.fixture
def cached_commit(house, monkeypatch):
    """A hub that is away, and a copy of one commit of its dataset in the cache of the `datasets` library."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(house.folder / "cache"))
    commit = "a" * 40
    parquet(house.folder / "colours" / "data" / "test-00000-of-00001.parquet", rows(4))
    copy = datasets.load_dataset(str(house.folder / "colours"), split="test")
    cached = house.folder / "cache" / "owner___colours" / "default" / "0.0.0" / commit
    cached.parent.mkdir(parents=True)
    Path(copy.cache_files[0]["filename"]).parent.rename(cached)
    house.dataset(sources=[{**HUB, "few_shot_split": None}])
    return commit


def test_with_the_hub_away_a_planned_run_reads_its_commit_from_the_cache(house, cached_commit):
    pinned = ResolvedSource(index=0, revision=cached_commit)

    raw = sources.read(house.catalog.dataset("colours"), pinned, house.settings)

    assert [row for _, row in raw.questions] == rows(4)


def test_with_the_hub_away_another_commit_in_the_cache_is_not_taken_instead(house, cached_commit):
    pinned = ResolvedSource(index=0, revision="b" * 40)

    with pytest.raises(StorageError, match=r"the hub went away .*commit b+ is not in the cache, only .*/a{40}/"):
        sources.read(house.catalog.dataset("colours"), pinned, house.settings)


def test_a_name_that_is_neither_a_folder_nor_a_hub_id_is_said_so(house):
    house.dataset(sources=[{**HUB, "path": "colours"}])

    with pytest.raises(MissingSource, match=r"no such folder in .*, and it is no hub id \(owner/name\)"):
        resolve(house)
