"""Reading published rows: while others publish, from any root, whatever the history holds."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_eval import layout, results, storage, tables
from llm_eval.errors import InputError, StorageError
from llm_eval.records import Result, SampleResult
from tests.reporting.builders import result


def publish(root: str, *rows: Result) -> str:
    """Rows of one run in the file that its publish stage writes."""
    first = rows[0]
    folder = layout.join(layout.results(root, "summary"), f"model={first.model}", f"dataset={first.dataset}")
    address = layout.join(folder, f"{first.run_id}.parquet")
    tables.write(address, Result, rows)
    return address


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path)
    return f"memory://{uuid.uuid4().hex}"


def test_a_root_without_results_has_no_rows(root):
    assert results.summary(root) == []
    assert results.summary(root, models=["tiny"], datasets=["mmlu"]) == []


def test_rows_come_back_as_they_were_published(root):
    rows = [
        result(run_id="a", params={"limit": 5, "overrides": {"model.backend.dtype": "float32"}}, cost_usd=0.5),
        result(run_id="a", subset="法律", headline=False),
    ]
    publish(root, *rows)

    assert results.summary(root) == rows


def test_only_the_models_and_datasets_asked_for_are_read(root):
    for model in ("big", "tiny"):
        for dataset in ("ceval", "mmlu"):
            publish(root, result(run_id=f"{model}-{dataset}", model=model, dataset=dataset))

    def found(**wanted):
        return [row.run_id for row in results.summary(root, **wanted)]

    assert found() == ["big-ceval", "big-mmlu", "tiny-ceval", "tiny-mmlu"]
    assert found(models=["tiny"]) == ["tiny-ceval", "tiny-mmlu"]
    assert found(datasets=["mmlu"]) == ["big-mmlu", "tiny-mmlu"]
    assert found(models=["tiny", "big"], datasets=["ceval"]) == ["big-ceval", "tiny-ceval"]
    assert found(models=["nobody"]) == []


def test_files_of_other_models_are_not_even_opened(tmp_path):
    broken = publish(str(tmp_path), result(model="other"))
    storage.write_bytes(broken, b"not Parquet")
    publish(str(tmp_path), result(model="tiny"))

    assert [row.model for row in results.summary(str(tmp_path), models=["tiny"])] == ["tiny"]


def test_a_bare_name_stands_for_all_variants_and_a_reference_for_one(root):
    publish(root, result(run_id="plain", dataset="ceval"))
    publish(root, result(run_id="ppl", dataset="ceval", variant="ppl"))

    assert [row.run_id for row in results.summary(root, datasets=["ceval"])] == ["plain", "ppl"]
    assert [row.run_id for row in results.summary(root, datasets=["ceval_ppl"])] == ["ppl"]


def test_rows_of_one_suite(root):
    publish(root, result(run_id="nightly", suite="nightly"))
    publish(root, result(run_id="by-hand"))

    assert [row.run_id for row in results.summary(root, suite="nightly")] == ["nightly"]


def test_what_others_are_just_writing_is_left_out(tmp_path):
    address = publish(str(tmp_path), result(run_id="whole"))
    folder, _, _ = address.rpartition("/")
    storage.write_bytes(f"{folder}/.next.parquet.0123.tmp", b"PAR1 half")
    storage.write_bytes(f"{folder}/.next.parquet", b"PAR1 half")
    storage.write_bytes(f"{folder}/notes.txt", b"not a result")

    assert [row.run_id for row in results.summary(str(tmp_path))] == ["whole"]


def test_a_file_that_vanishes_after_it_was_listed_is_left_out(tmp_path, monkeypatch):
    gone = publish(str(tmp_path), result(run_id="gone"))
    publish(str(tmp_path), result(run_id="there"))
    fs, _ = storage.filesystem(str(tmp_path))
    listed = type(fs).find

    def find_then_delete(self, path, **options):
        found = listed(self, path, **options)
        storage.delete(gone)
        return found

    monkeypatch.setattr(type(fs), "find", find_then_delete)

    assert [row.run_id for row in results.summary(str(tmp_path))] == ["there"]


def test_a_damaged_file_is_left_out_and_named_in_the_log(root, caplog):
    publish(root, result(run_id="whole"))
    damaged = publish(root, result(run_id="damaged"))
    storage.write_bytes(damaged, storage.read_bytes(damaged)[:500])

    assert [row.run_id for row in results.summary(root)] == ["whole"]
    assert "damaged.parquet is left out" in caplog.text


def test_a_file_from_before_an_optional_column_came_is_read(tmp_path):
    row = result(cost_usd=None)
    address = publish(str(tmp_path), row)
    pq.write_table(tables.to_table(Result, [row]).drop_columns(["cost_usd"]), address)

    assert results.summary(str(tmp_path)) == [row]


def test_a_file_without_a_needed_column_is_refused_by_name(tmp_path):
    address = publish(str(tmp_path), result())
    pq.write_table(pa.table({"run_id": ["run-1"], "value": [0.5]}), address)

    with pytest.raises(StorageError, match=r"run-1\.parquet: columns missing: model, dataset, ") as refused:
        results.summary(str(tmp_path))

    assert "cost_usd" not in str(refused.value)


def test_more_files_than_are_read_at_once(tmp_path):
    first = Path(publish(str(tmp_path), result(run_id="run-0")))
    for number in range(1, 205):
        shutil.copy(first, first.with_name(f"run-{number}.parquet"))

    assert len(results.summary(str(tmp_path))) == 205


def test_the_newest_run_of_the_same_thing_is_current_with_all_its_rows():
    old = [result(run_id="z-old", evaluated_at="2026-01-01T10:00:00+00:00", subset=s) for s in ("all", "law")]
    new = [result(run_id="a-new", evaluated_at="2026-01-02T10:00:00+00:00", subset=s) for s in ("all", "law")]

    assert results.current([*old, *new]) == new
    assert results.current([*new, *old]) == new


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-01-01T10:00:00+00:00", "2026-01-01T12:00:00+01:00"),
        ("2026-01-01T12:00:00+08:00", "2026-01-01T05:00:00Z"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.5Z"),
        ("nobody knows", "2026-01-01T10:00:00Z"),
    ],
)
def test_newest_is_told_by_the_moment_not_by_the_text(earlier, later):
    rows = [result(run_id="z", evaluated_at=earlier), result(run_id="a", evaluated_at=later)]

    assert [row.run_id for row in results.current(rows)] == ["a"]


def test_of_two_runs_of_one_moment_the_greater_id_is_current():
    assert [row.run_id for row in results.current([result(run_id="b"), result(run_id="a")])] == ["b"]


@pytest.mark.parametrize(
    "difference",
    [
        {"model": "other"},
        {"checkpoint": "step-2"},
        {"dataset": "ceval"},
        {"variant": "ppl"},
        {"sample_limit": 100},
    ],
)
def test_what_is_not_the_same_thing_stays_beside_it(difference):
    rows = [result(run_id="a"), result(run_id="b", **difference)]

    assert results.current(rows) == rows


def test_nothing_is_current_of_nothing():
    assert results.current([]) == []


def sample_result(**fields):
    return SampleResult(
        **{
            "run_id": "run-1",
            "model": "tiny",
            "checkpoint": None,
            "dataset": "ceval",
            "variant": "ppl",
            "subset": "law",
            "sample_id": "law/1",
            "attempt": 0,
            "metric": "accuracy",
            "value": 1.0,
            "status": "scored",
            "answer": "A",
            "targets": ("A",),
            "response": "A",
            "explanation": "",
            "shots": 5,
            "input_tokens": 100,
            "output_tokens": 1,
            "finish_reason": "stop",
            **fields,
        }
    )


def test_samples_of_one_run(root):
    place = layout.join(layout.results(root, "samples"), "model=tiny", "dataset=ceval")
    rows = [sample_result(), sample_result(sample_id="law/2", value=None, status="failed", response=None)]
    tables.write(f"{place}/run-1.parquet", SampleResult, rows)
    tables.write(f"{place}/run-2.parquet", SampleResult, [sample_result(run_id="run-2")])

    assert results.samples(root, "run-1", "tiny", "ceval_ppl") == rows


def test_samples_of_a_run_that_has_not_published_are_asked_for_in_vain(root):
    with pytest.raises(InputError, match="'run-9' of tiny on ceval"):
        results.samples(root, "run-9", "tiny", "ceval")
