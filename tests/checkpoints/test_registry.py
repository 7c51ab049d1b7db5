"""The registry's files: atomic, never two at one time, whoever writes."""

import json
import multiprocessing
from pathlib import Path

import pytest

from llm_eval import storage
from llm_eval.checkpoints import Registry, register
from llm_eval.errors import InputError, MissingWeights, StorageError, UnknownName
from llm_eval.specs import Checkpoint

WRITERS = 6


def entry(name: str, created_at: str = "2026-01-01T00:00:00+00:00", path: str | None = None) -> Checkpoint:
    return Checkpoint(name=name, path=path or f"/weights/{name}", created_at=created_at)


@pytest.fixture(params=["folder", "memory"])
def registry(request, tmp_path):
    """On a disk, and on a store of objects."""
    made = Registry.of(str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}", "m")
    yield made
    for known in made.entries():
        made.forget(known.name)


def times(registry: Registry) -> list[tuple[str, str]]:
    return [(c.name, c.created_at[11:19]) for c in registry.entries()]


def test_entries_are_oldest_first_whatever_came_first(registry):
    registry.add(entry("b", "2026-01-02T00:00:00+00:00"), may_move=False)
    registry.add(entry("a", "2026-01-01T01:00:00+02:00"), may_move=False)
    assert [(c.name, c.created_at) for c in registry.entries()] == [
        ("a", "2025-12-31T23:00:00+00:00"),
        ("b", "2026-01-02T00:00:00+00:00"),
    ]


def test_the_same_checkpoint_again_changes_nothing(registry):
    first = registry.add(entry("a"), may_move=False)
    again = registry.add(entry("a", "2026-05-05T00:00:00+00:00"), may_move=False)
    assert (first.is_new, again.is_new, again.checkpoint) == (True, False, first.checkpoint)
    assert times(registry) == [("a", "00:00:00")]


def test_a_name_that_stands_for_another_place_is_refused(registry):
    registry.add(entry("a"), may_move=False)
    with pytest.raises(InputError, match=r"'a' is registered already, as /weights/a.*checkpoint forget m a"):
        registry.add(entry("a", path="/elsewhere"), may_move=True)


def test_two_checkpoints_never_share_a_time(registry):
    registry.add(entry("a"), may_move=True)
    registry.add(entry("b"), may_move=True)
    registry.add(entry("c"), may_move=True)
    assert times(registry) == [("a", "00:00:00"), ("b", "00:00:01"), ("c", "00:00:02")]
    with pytest.raises(InputError, match=r"'b' was created at 2026-01-01T00:00:01\+00:00 too"):
        registry.add(entry("d", "2026-01-01T00:00:01+00:00"), may_move=False)


def test_what_was_forgotten_is_gone_and_its_time_is_free(registry):
    registry.add(entry("a"), may_move=False)
    assert registry.forget("a").path == "/weights/a"
    assert registry.entries() == []
    registry.add(entry("b"), may_move=False)
    with pytest.raises(UnknownName, match=r"'a' is not known.*Known: b"):
        registry.forget("a")


@pytest.mark.parametrize("moment", [0, 1])
@pytest.mark.parametrize("others", [3, 2, 1])
def test_one_name_at_two_times_is_registered_once_whoever_comes_in_between(registry, monkeypatch, moment, others):
    """Another writer's whole registration, at an earlier, the same or a later time, before one of ours creates a file.

    What either was told is what stays: a run may have been started for it.
    """
    create, created, told = storage.create_json, [], []

    def interrupted(uri, value):
        created.append(uri)
        if len(created) == moment + 1:
            told.append(registry.add(entry("a", f"2026-01-01T00:00:0{others}+00:00"), may_move=False))
        return create(uri, value)

    monkeypatch.setattr(storage, "create_json", interrupted)
    told.append(registry.add(entry("a", "2026-01-01T00:00:02+00:00"), may_move=False))
    assert [t.is_new for t in told] == [True, False]
    assert [t.checkpoint for t in told] == registry.entries() * 2
    registry.add(entry("b", "2026-01-01T00:00:02+00:00"), may_move=True)
    assert times(registry) == sorted(
        [("a", f"00:00:0{others}"), ("b", f"00:00:0{3 if others == 2 else 2}")], key=lambda one: one[1]
    )


def test_one_that_is_forgotten_while_others_are_read_hides_nothing(registry, monkeypatch):
    for number, name in enumerate("abc"):
        registry.add(entry(name, f"2026-01-01T00:00:0{number}+00:00"), may_move=False)
    read = storage.read_json

    def forgotten(uri):
        if uri.endswith("/b.json"):
            storage.delete(uri)
        return read(uri)

    monkeypatch.setattr(storage, "read_json", forgotten)
    assert [c.name for c in registry.entries()] == ["a", "c"]


def test_one_that_is_forgotten_as_it_is_registered_is_registered_anew(registry, monkeypatch):
    create, forgotten = storage.create_json, []

    def interrupted(uri, value):
        """Somebody else registers the name, and forgets it as soon as we have seen it."""
        if uri.endswith("/a.json") and not forgotten:
            forgotten.append(registry.folder)
            create(uri, value)
            told = create(uri, value)
            registry.forget("a")
            return told
        return create(uri, value)

    monkeypatch.setattr(storage, "create_json", interrupted)
    assert registry.add(entry("a"), may_move=False).is_new
    assert times(registry) == [("a", "00:00:00")]
    assert forgotten


def test_a_writer_that_ended_halfway_keeps_its_time_for_its_name(registry, monkeypatch):
    def ended(uri, value):
        raise StorageError("no space left on device")

    at = "2026-01-01T00:00:00+00:00"
    with monkeypatch.context() as patched:
        create = storage.create_json
        patched.setattr(storage, "create_json", lambda u, v: (create if "/times/" in u else ended)(u, v))
        with pytest.raises(StorageError):
            registry.add(entry("a", at), may_move=False)
    assert registry.entries() == []
    registry.add(entry("b", at), may_move=True)
    registry.add(entry("a", at), may_move=False)
    assert times(registry) == [("a", "00:00:00"), ("b", "00:00:01")]


def _write(root: str, number: int) -> None:
    registry = Registry.of(root, "m")
    for name in ("shared", f"own-{number}"):
        registry.add(entry(name), may_move=True)
    registry.add(entry("late", f"2026-02-01T00:00:{number:02}+00:00"), may_move=False)


def test_many_writers_at_once_lose_nothing_and_register_nothing_twice(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(tmp_path), n)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    found = Registry.of(str(tmp_path), "m").entries()
    assert sorted(c.name for c in found) == sorted(["shared", "late", *(f"own-{n}" for n in range(WRITERS))])
    assert len({c.created_at for c in found}) == len(found)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    registry = Registry.of(str(tmp_path), "m")
    registry.add(entry("a"), may_move=False)
    file = Path(registry.folder) / "a.json"
    file.write_text(json.dumps({"name": "a b", "path": "x"}))
    with pytest.raises(StorageError, match=r"a.json: not a checkpoint of the registry \(name: .*created_at"):
        registry.entries()


def test_registering_takes_name_and_time_from_the_folder(house, registered, training):
    folder = training("step-5", 86_400)
    added = register(registered, str(folder), house.settings)
    assert added.checkpoint == Checkpoint(name="step-5", path=str(folder), created_at="1970-01-02T00:00:00+00:00")
    again = register(registered, "training/step-5", house.settings, name="final", created_at="2026-01-01")
    assert (again.checkpoint.name, again.checkpoint.created_at) == ("final", "2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "nowhere"}, "there is no folder 'nowhere', and it is not a hub id"),
        ({"path": "training/half"}, "is no complete checkpoint: .*model.safetensors is half-written"),
        ({"path": "training/step-5", "name": "a b"}, "'a b' is no name for a checkpoint"),
        ({"path": "training/step-5", "created_at": "yesterday"}, "'yesterday' is not a time in ISO 8601"),
    ],
)
def test_what_could_not_be_evaluated_later_is_refused(house, registered, training, fields, message):
    training("step-5", 1)
    training("half", 1, weights=(training("step-5", 1) / "model.safetensors").read_bytes()[:-2])
    path = fields.pop("path")
    with pytest.raises((InputError, MissingWeights), match=message):
        register(registered, path, house.settings, **fields)


def test_a_model_that_asks_for_no_checkpoints_takes_none(house):
    house.model(name="whole")
    with pytest.raises(
        InputError, match=r"'whole' has no `checkpoints` in its YAML. Add `checkpoints: {kind: registry}`"
    ):
        register(house.catalog.model("whole"), "x", house.settings)
