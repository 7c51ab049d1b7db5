"""Whole runs with the scripted backend: what is published, what is done twice, what is refused."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm_eval import results, storage, tables
from llm_eval.backends.replay import Replay
from llm_eval.backends.scripted import Scripted
from llm_eval.errors import (
    BackendLost,
    IncompleteStage,
    InputError,
    InvalidData,
    InvalidSpec,
    MissingSource,
    StorageError,
    TooManyFailures,
    UnknownName,
    UnsupportedRequest,
)
from llm_eval.layout import WHOLE, Layout, Shard
from llm_eval.records import Response
from llm_eval.stages import STAGES, run_stage
from llm_eval.stages.parts import PartWriter
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish, parse_params, plan
from llm_eval.stages.render import read_requests
from tests.builders import NOON, House, rows


def wish(**params) -> Wish:
    return Wish("canned", "colours", parse_params(params, "test"))


def evaluate(house: House, **params):
    """A finished run and its summary rows."""
    run = run_all(house.catalog, house.settings, wish(**params))
    return run, [r for r in results.summary(house.settings.root) if r.run_id == run.run_id]


def planned(house: House, **params):
    run = plan(house.catalog, house.settings, wish(**params), NOON)
    return run, Layout(house.settings.root, run).run_uri


def stages(house: House, address: str, *names: str, **options) -> None:
    for name in names:
        run_stage(name, address, house.settings, **options)


def test_a_run_publishes_a_headline_with_count_and_interval(house):
    house.model(backend={"kind": "scripted", "replies": ["The answer is A."]})

    _, summary = evaluate(house)

    (headline,) = [r for r in summary if r.headline]
    assert (headline.metric, headline.subset, headline.value) == ("accuracy", "all", 0.25)
    assert (headline.samples, headline.scored, headline.no_answer, headline.failed) == (12, 12, 0, 0)
    assert 0 < headline.ci_low < 0.25 < headline.ci_high < 1


def test_published_files_are_hive_partitioned_and_hold_every_sample(house):
    run, _ = evaluate(house)

    path = Path(house.settings.root) / "results/samples/model=canned/dataset=colours" / f"{run.run_id}.parquet"
    assert pq.read_table(path, partitioning=None).num_rows == 12


def test_no_usable_answer_counts_as_wrong_and_is_counted(house):
    house.model(backend={"kind": "scripted", "replies": ["I would rather not say."]})

    _, summary = evaluate(house)

    (headline,) = [r for r in summary if r.headline]
    assert (headline.value, headline.scored, headline.no_answer, headline.failed) == (0.0, 0, 12, 0)


def test_our_own_failures_leave_the_mean_but_not_the_count(house):
    house.dataset(max_failed_fraction=0.9)
    house.model(backend={"kind": "scripted", "replies": ["A"], "failing": 0.5})
    house.jsonl("colours.jsonl", [{**r, "answer": "A"} for r in rows(40)])

    _, summary = evaluate(house)

    (headline,) = [r for r in summary if r.headline]
    assert headline.value == 1.0
    assert headline.failed > 0
    assert headline.scored + headline.failed == headline.samples == 40


def test_more_failures_than_allowed_fail_the_run_and_publish_nothing(house):
    house.model(backend={"kind": "scripted", "failing": 0.5})

    with pytest.raises(TooManyFailures, match=r"of 12 samples failed.*scripted failure"):
        evaluate(house)

    assert results.summary(house.settings.root) == []


def test_failed_requests_are_asked_again_and_only_those(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "failing": 0.5, "journal": str(journal)})
    with pytest.raises(TooManyFailures):
        evaluate(house)
    first = journal.read_text().split()
    failed = {r.request_id for r in _responses(house) if r.error is not None}

    with pytest.raises(TooManyFailures):
        evaluate(house)

    assert len(first) == 12
    assert set(journal.read_text().split()[12:]) == failed


def _responses(house: House) -> list[Response]:
    parts = Path(house.settings.root).glob("responses/*/*/part-*.parquet")
    return tables.read_all([str(p) for p in parts], Response)


def test_a_finished_stage_is_not_done_again(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    evaluate(house)

    evaluate(house)

    assert len(journal.read_text().split()) == 12


def test_force_does_everything_again(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    evaluate(house)

    evaluate(house, force=True)

    assert Counter(journal.read_text().split()).most_common(1)[0][1] == 2


def test_a_forced_stage_that_was_lost_goes_on_where_it_was(house, tmp_path, monkeypatch):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    evaluate(house)
    _, address = planned(house, force=True)
    stages(house, address, "fetch", "validate", "render")
    reply = Scripted._reply

    def lost(self, request, attempt):
        if self.answered >= 5:
            raise BackendLost("the server went away")
        return reply(self, request, attempt)

    monkeypatch.setattr(Scripted, "_reply", lost)
    for _ in range(2):
        with pytest.raises(BackendLost):
            stages(house, address, "infer")
    monkeypatch.setattr(Scripted, "_reply", reply)
    assert run_stage("infer", address, house.settings).counts["asked"] == 2

    assert Counter(Counter(journal.read_text().split()).values()) == {2: 12}
    assert run_stage("infer", address, house.settings).counts["asked"] == 12  # forced once more


def test_force_replaces_what_a_machine_with_a_faster_clock_has_written(house, monkeypatch):
    house.model(backend={"kind": "scripted", "replies": ["The answer is A."]})
    run, address = planned(house)
    stages(house, address, "fetch", "validate", "render")
    in_an_hour = time.time_ns() + 3600 * 10**9
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: in_an_hour)
        with PartWriter(Layout(house.settings.root, run).responses, WHOLE) as others:
            for request in read_requests(Layout(house.settings.root, run)):
                others.add(Response(request.id, text="The answer is B."))

    stages(house, address, "infer", force=True)
    stages(house, address, "score", "publish")

    published = results.samples(house.settings.root, run.run_id, "canned", "colours")
    assert {row.response for row in published} == {"The answer is A."}


def test_editing_a_metric_asks_the_model_nothing(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    before, _ = evaluate(house)
    house.dataset(metrics=["exact_match"])

    after, summary = evaluate(house)

    assert len(journal.read_text().split()) == 12
    assert before.fingerprints.responses == after.fingerprints.responses
    assert {r.metric for r in summary} == {"exact_match"}


def test_changing_the_answers_length_never_mixes_with_old_responses(house):
    before, _ = evaluate(house)

    after, _ = evaluate(house, overrides={"dataset.generation.max_tokens": 4})

    assert before.fingerprints.responses != after.fingerprints.responses
    assert before.fingerprints.samples == after.fingerprints.samples


@pytest.mark.parametrize("changes", [{"shards": 3}, {"overrides": {"model.resources.shards": 2}}])
def test_shards_do_not_change_what_the_responses_are(house, changes):
    before, _ = planned(house)

    after, _ = planned(house, **changes)

    assert before.fingerprints == after.fingerprints


def test_every_shard_answers_its_own_slice(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    _, address = planned(house)
    stages(house, address, "fetch", "validate", "render")

    for index in range(3):
        stages(house, address, "infer", shard=Shard(index, 3))
    stages(house, address, "score", "publish")

    assert Counter(journal.read_text().split()).most_common(1)[0][1] == 1
    assert [r.samples for r in results.summary(house.settings.root) if r.headline] == [12]


def test_a_missing_shard_is_no_score(house):
    _, address = planned(house)
    stages(house, address, "fetch", "validate", "render")
    stages(house, address, "infer", shard=Shard(0, 3))

    with pytest.raises(IncompleteStage, match="8 of 12 responses are missing"):
        stages(house, address, "score")


@pytest.mark.parametrize("stage", ["validate", "render", "infer", "score", "publish"])
def test_a_stage_before_its_turn_says_which_one_comes_first(house, stage):
    _, address = planned(house)

    with pytest.raises(IncompleteStage, match="first"):
        stages(house, address, stage)


def test_a_lost_backend_keeps_what_was_answered(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "lost_after": 7, "journal": str(journal)})
    _, address = planned(house)
    stages(house, address, "fetch", "validate", "render")
    with pytest.raises(BackendLost):
        stages(house, address, "infer")
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    _, address = planned(house)

    stages(house, address, "infer", "score", "publish")

    assert Counter(journal.read_text().split()).most_common(1)[0][1] == 1


def test_two_runs_of_the_same_pair_side_by_side_publish_both(house):
    one = plan(house.catalog, house.settings, Wish("canned", "colours", run_id="one"), NOON)
    two = plan(house.catalog, house.settings, Wish("canned", "colours", run_id="two"), NOON)
    addresses = [Layout(house.settings.root, run).run_uri for run in (one, two)]

    for stage in STAGES:
        for address in addresses:
            stages(house, address, stage, force=stage == "infer")

    headlines = {r.run_id: r.value for r in results.summary(house.settings.root) if r.headline}
    assert headlines["one"] == headlines["two"]


def test_a_run_publishes_the_answers_that_it_has_scored_whatever_another_one_adds(house):
    house.model(backend={"kind": "scripted", "replies": ["The answer is A."]})
    run, address = planned(house)
    place = Layout(house.settings.root, run)
    stages(house, address, "fetch", "validate", "render", "infer", "score")
    with PartWriter(place.responses, WHOLE) as others:
        for request in read_requests(place):
            others.add(Response(request.id, text="The answer is B."))

    stages(house, address, "publish")

    published = results.samples(house.settings.root, run.run_id, "canned", "colours")
    assert {(row.answer, row.response) for row in published} == {("A", "The answer is A.")}
    stages(house, address, "score", "publish", force=True)
    published = results.samples(house.settings.root, run.run_id, "canned", "colours")
    assert {(row.answer, row.response) for row in published} == {("B", "The answer is B.")}


def test_runs_planned_at_the_same_moment_have_ids_of_their_own(house):
    of_one_moment = {plan(house.catalog, house.settings, wish(), NOON).run_id for _ in range(20)}

    assert len(of_one_moment) == 20


def test_a_run_id_from_outside_cannot_leave_its_folder(house):
    run = plan(house.catalog, house.settings, Wish("canned", "colours", run_id="../../elsewhere: 1"), NOON)
    address = Layout(house.settings.root, run).run_uri

    stages(house, address, *STAGES)

    assert "/" not in run.run_id
    assert Path(address).parent == Path(house.settings.root) / "runs" / "canned" / "colours"
    assert {r.run_id for r in results.summary(house.settings.root)} == {run.run_id}


def test_publishing_again_replaces_a_runs_own_rows_only(house):
    evaluate(house)
    _run, address = planned(house)
    stages(house, address, *STAGES)
    before = len(results.summary(house.settings.root))

    stages(house, address, "publish", force=True)

    assert len(results.summary(house.settings.root)) == before
    assert len({r.run_id for r in results.summary(house.settings.root)}) == 2


def test_a_run_that_is_planned_anew_publishes_what_it_is_now(house):
    """As a scheduler does that clears a whole run after its catalog has changed."""
    for reply, value, is_done in (
        ("The answer is A.", 0.25, False),
        ("The answer is A.", 0.25, True),
        ("?", 0.0, False),
    ):
        house.model(backend={"kind": "scripted", "replies": [reply]})
        run = plan(house.catalog, house.settings, Wish("canned", "colours", run_id="one"), NOON)
        reports = [run_stage(stage, Layout(house.settings.root, run).run_uri, house.settings) for stage in STAGES]
        (headline,) = [row for row in results.summary(house.settings.root) if row.headline]
        assert (headline.value, headline.responses_fingerprint) == (value, run.fingerprints.responses)
        assert reports[-1].skipped == is_done


def test_a_run_reads_the_data_it_was_planned_for(house):
    _, address = planned(house)
    house.jsonl("colours.jsonl", rows(13))

    with pytest.raises(InvalidData, match="changed"):
        stages(house, address, "fetch")


def test_a_run_asks_the_weights_it_was_planned_for(house, tmp_path):
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps({"id": str(r["id"]), "text": "A"}) + "\n" for r in rows(12)))
    house.model(backend={"kind": "replay", "path": str(answers)})
    _, address = planned(house)
    stages(house, address, "fetch", "validate", "render")
    answers.write_text(answers.read_text().replace("A", "B"))

    with pytest.raises(InvalidData, match=r"what answers has changed since run .* was planned"):
        stages(house, address, "infer")


def test_weights_that_change_while_they_are_loaded_answer_nothing(house, tmp_path, monkeypatch):
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps({"id": str(r["id"]), "text": "A"}) + "\n" for r in rows(12)))
    house.model(backend={"kind": "replay", "path": str(answers)})
    run, address = planned(house)
    stages(house, address, "fetch", "validate", "render")
    load = Replay.open.__func__

    def overtaken(*place):
        loaded = load(*place)
        answers.write_text(answers.read_text().replace("A", "B"))
        return loaded

    monkeypatch.setattr(Replay, "open", classmethod(overtaken))
    with pytest.raises(InvalidData, match=r"what answers has changed since run .* was planned"):
        stages(house, address, "infer")
    assert storage.files(Layout(house.settings.root, run).responses, ".parquet") == []


def test_bad_data_stops_before_the_model(house, tmp_path):
    journal = tmp_path / "journal"
    house.model(backend={"kind": "scripted", "journal": str(journal)})
    house.jsonl("colours.jsonl", [*rows(3), rows(1)[0]])

    with pytest.raises(InvalidData):
        evaluate(house)

    assert not journal.exists()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda h: h.jsonl("colours.jsonl", []), InvalidData, "colours.jsonl"),
        (lambda h: (h.data / "colours.jsonl").unlink(), MissingSource, "LLM_EVAL_DATASETS"),
        (lambda h: (h.data / "colours.jsonl").write_text('{"id": 1'), InvalidData, "colours.jsonl"),
        (lambda h: h.jsonl("colours.jsonl", [{**rows(1)[0], "answer": "E"}]), InvalidData, "choice"),
        (lambda h: h.jsonl("colours.jsonl", [{**rows(1)[0], "question": " "}]), InvalidData, "blank"),
        (lambda h: h.jsonl("colours.jsonl", [{"id": 1, "question": "q"}]), InvalidSpec, "choices"),
        (lambda h: h.dataset(metrics=["acuracy"]), UnknownName, "Did you mean 'accuracy'"),
        (lambda h: h.dataset(metrics=[{"accuracy": {"strict": 1}}]), InvalidSpec, "no option 'strict'"),
        (lambda h: h.dataset(extract=["last_word"]), UnknownName, "extractor 'last_word'"),
        (lambda h: h.dataset(expectations=["all_is_well"]), UnknownName, "expectation 'all_is_well'"),
        (lambda h: h.dataset(metrics=["choice_accuracy"]), InvalidSpec, "measures requests of kind"),
        (lambda h: h.dataset(prompt={"kind": "generate", "template": "{{ nothing }}"}), InvalidSpec, "nothing"),
    ],
)
def test_bad_input_is_refused_by_name(house, change, error, message):
    change(house)

    with pytest.raises(error, match=message):
        evaluate(house)

    assert results.summary(house.settings.root) == []


def test_an_override_must_say_what_it_overrides(house):
    with pytest.raises(InvalidSpec, match=r"begins with 'dataset\.', 'model\.' or 'judge\.'"):
        planned(house, overrides={"generation.max_tokens": 4})


def test_an_override_of_an_unknown_key_is_refused(house):
    with pytest.raises(InvalidSpec, match=r"(?s)with this run's overrides of generation\.max_token:.*unknown key"):
        planned(house, overrides={"dataset.generation.max_token": 4})


def test_an_unknown_parameter_is_refused():
    with pytest.raises(InvalidSpec, match=r"limits: unknown key\. Keys of a RunParams: checkpoint, limit"):
        parse_params({"limits": 4}, "trigger form")


def test_a_backend_that_cannot_answer_is_refused_before_anything_is_loaded(house, monkeypatch):
    from llm_eval.backends.scripted import Scripted

    monkeypatch.setattr(Scripted, "kinds", frozenset({"choices"}))

    with pytest.raises(UnsupportedRequest, match="cannot answer requests of kind 'generate'"):
        planned(house)


def test_a_stage_of_no_run_says_how_to_make_one(house):
    with pytest.raises(InputError, match="llm-eval plan"):
        run_stage("fetch", f"{house.settings.root}/runs/canned/colours/nothing", house.settings)


def test_an_unwritable_root_is_named(house, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="--root or LLM_EVAL_ROOT"):
        plan(house.catalog, house.settings.with_root(str(tmp_path / "file" / "root")), wish(), NOON)


def test_a_limited_run_says_so_in_its_rows(house):
    _, summary = evaluate(house, limit=5)

    assert {(r.samples, r.sample_limit) for r in summary} == {(5, 5)}


def test_a_torn_manifest_only_costs_the_stage(house):
    _, address = planned(house)
    stages(house, address, "fetch")
    (manifest,) = Path(house.settings.root).glob("samples/*/*/manifest.json")
    manifest.write_text('{"coun')

    stages(house, address, "fetch")

    assert json.loads(manifest.read_text())["counts"]["samples"] == 12


def test_a_run_works_the_same_on_an_object_store(house):
    house.settings = house.settings.with_root("memory://bucket/evaluations")

    _, summary = evaluate(house)

    assert [r.samples for r in summary if r.headline] == [12]
    assert storage.files("memory://bucket/evaluations/results/summary/model=canned/dataset=colours", ".parquet")
