from __future__ import annotations

import dataclasses

import pytest

from llm_eval import tables
from llm_eval.errors import StorageError
from llm_eval.records import (
    Likelihood,
    Message,
    Request,
    Response,
    Result,
    Sample,
    SampleResult,
    Score,
    Shot,
    TokenLogprob,
)

FULL = [
    Sample("s", "law", "q", (), ("B",), ("x", "y"), {"why": "because", "n": 3}),
    Sample("s", "", "hi", ("ho", "hey")),
    Request("r", "s", "choices", "head", (Shot("u", "a"),), "text", None, (" A", " B")),
    Request("r", "s", "generate", messages=(Message("user", "你好"),)),
    Response("r", 1, None, (Likelihood(-0.5, 2, 3),), shots=4, finish_reason="scored", latency_seconds=0.25),
    Response("r", 0, "A", (), (TokenLogprob("A", -0.5),), 4, 5, 6, 7, 8, "length", 0.25, 0.125, None),
    Score("s", "law", 0, "bleu", None, "failed", None, "lost", (1.0, 2.0)),
]


@pytest.mark.parametrize("record", FULL)
def test_a_record_survives_parquet(tmp_path, record):
    uri = str(tmp_path / "x.parquet")

    tables.write(uri, type(record), [record])

    assert tables.read(uri, type(record)) == [record]


def test_records_of_one_file_keep_what_is_theirs(tmp_path):
    shots = (Shot("u", "a"), Shot("v", "b"))
    requests = [
        Request("1", "s", "generate", messages=(Message("user", "hi"), Message("assistant", "ho"))),
        Request("2", "s", "choices", shots=shots, text="t", continuations=(" A", " B", " A")),
        Request("3", "s", "choices", shots=shots[:1], messages=()),
        Request("4", "s", "choices", shots=shots[::-1], messages=(Message("user", "hi"),), continuations=("",)),
    ]
    uri = str(tmp_path / "x.parquet")

    tables.write(uri, Request, requests)

    assert tables.read(uri, Request) == requests


def test_a_text_that_many_records_hold_is_held_once(tmp_path):
    uri = str(tmp_path / "x.parquet")
    tables.write(uri, Request, [Request(f"{i}", "s", "choices", shots=(Shot("u" * 99, "a"),)) for i in range(3)])

    first, *others = tables.read(uri, Request)

    assert all(other.shots[0].user is first.shots[0].user for other in others)


@pytest.mark.parametrize("record", [Sample, Request, Response, Score, Result, SampleResult])
def test_schema_and_record_have_the_same_names(record):
    assert tables.schema_of(record).names == [f.name for f in dataclasses.fields(record)]


def test_no_rows_make_a_file_with_the_schema(tmp_path):
    uri = str(tmp_path / "x.parquet")

    tables.write(uri, Score, [])

    assert tables.read(uri, Score) == []


def test_a_truncated_file_is_named(tmp_path):
    uri = tmp_path / "x.parquet"
    tables.write(str(uri), Score, [FULL[-1]])
    uri.write_bytes(uri.read_bytes()[:-7])

    with pytest.raises(StorageError, match=r"x\.parquet: not a readable Parquet file"):
        tables.read(str(uri), Score)


def test_missing_columns_are_named(tmp_path):
    uri = str(tmp_path / "x.parquet")
    tables.write(uri, Score, [FULL[-1]])

    with pytest.raises(StorageError, match=r"columns missing: .*finish_reason"):
        tables.read(uri, Response)


def test_a_file_says_what_its_rows_were_made_from(tmp_path):
    uri = str(tmp_path / "scores.parquet")
    tables.write(uri, Score, [FULL[-1]], sources=["part-1", "part-2"])
    assert tables.read_with_sources(uri, Score) == ([FULL[-1]], ("part-1", "part-2"))

    tables.write(uri, Score, [FULL[-1]])
    with pytest.raises(StorageError, match=r"scores\.parquet: does not say what it was made from.*with --force"):
        tables.read_with_sources(uri, Score)
