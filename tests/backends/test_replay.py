import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_eval.backends.replay import Replay
from llm_eval.errors import InvalidData, MissingSource
from llm_eval.records import Likelihood, Request, Response, Shot
from llm_eval.settings import Settings
from llm_eval.specs import Generation, ModelSpec

GREEDY = Generation()


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(root="unused", catalogs=(), datasets=(tmp_path,), models=())


def replaying(path: str = "answers.jsonl", **columns: str) -> ModelSpec:
    backend = {"kind": "replay", "path": path, **columns}
    return ModelSpec.model_validate({"name": "elsewhere", "backend": backend, "chat": False})


def question(sample: str, kind: str = "generate", **fields) -> Request:
    return Request(f"request-{sample}", sample, kind, text="Why? ", **fields)


@pytest.fixture
def answers(settings, tmp_path):
    """answers(rows, requests, **columns): what a jsonl file of these rows answers."""

    def ask(rows, requests, generation=GREEDY, **columns):
        (tmp_path / "answers.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        replay = Replay.open(replaying(**columns), None, "demo", settings)
        return list(replay.answer(requests, generation))

    return ask


def opened(settings, tmp_path, content: bytes, name: str = "answers.jsonl") -> Replay:
    (tmp_path / name).write_bytes(content)
    return Replay.open(replaying(name), None, "demo", settings)


def test_text_is_given_back_by_sample_id(answers):
    rows = [{"id": "b", "text": "because"}, {"id": "a", "text": ""}]
    shot = Shot("u", "a")
    assert answers(rows, [question("a"), question("b", shots=(shot,))]) == [
        Response("request-a", 0, ""),
        Response("request-b", 0, "because", shots=1),
    ]


def test_columns_may_have_other_names_and_ids_may_be_numbers(answers):
    rows = [{"key": 7, "completion": "seven"}]
    (response,) = answers(rows, [question("7")], id="key", text="completion")
    assert response.text == "seven"


def test_a_sample_without_an_answer_is_an_error_of_ours_not_an_empty_answer(answers, tmp_path):
    rows = [{"id": "a", "text": None}, {"id": "b", "text": "x"}]
    null, absent = answers(rows, [question("a"), question("c")])
    assert null.error == f"no answer for sample 'a' in {tmp_path / 'answers.jsonl'}"
    assert absent.error == f"no answer for sample 'c' in {tmp_path / 'answers.jsonl'}"
    assert (absent.text, absent.finish_reason) == (None, "error")


def test_a_list_of_texts_answers_attempt_by_attempt(answers):
    rows = [{"id": "a", "text": ["one", None]}, {"id": "b", "text": "only"}]
    responses = answers(rows, [question("a"), question("b")], Generation(attempts=3))
    assert [(r.attempt, r.text, r.error is not None) for r in responses] == [
        (0, "one", False),
        (1, None, True),
        (2, None, True),
        (0, "only", False),
        (1, None, True),
        (2, None, True),
    ]


def test_log_likelihoods_come_with_tokens_and_the_bytes_of_the_continuations(answers):
    rows = [{"id": "a", "logprobs": [-1.5, -2], "tokens": [1, 3]}]
    (response,) = answers(rows, [question("a", "choices", continuations=(" A", " 鲸"))])
    assert response.likelihoods == (Likelihood(-1.5, 1, 2), Likelihood(-2.0, 3, 4))
    assert response.finish_reason == "scored"


def test_token_counts_that_are_not_given_are_0(answers):
    (response,) = answers([{"id": "a", "logprobs": [-1.5]}], [question("a", "choices", continuations=(" A",))])
    assert response.likelihoods == (Likelihood(-1.5, 0, 2),)


def test_bytes_of_kind_perplexity_are_of_the_whole_text(answers):
    (response,) = answers([{"id": "a", "logprobs": [-9.0]}], [question("a", "perplexity", continuations=("So.",))])
    assert response.likelihoods[0].bytes == len("Why? So.")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"logprobs": [-1.0]}, r"sample 'a': 'logprobs' is 1 values; a list of 2 is needed"),
        ({"logprobs": -1.0}, r"'logprobs' is -1.0; a list of 2"),
        ({"logprobs": [-1.0, None]}, "finite numbers"),
        ({"logprobs": [-1.0, float("nan")]}, "finite numbers"),
        ({"logprobs": [-1.0, True]}, "finite numbers"),
        ({"logprobs": [-1.0, 0.4]}, r"0\.4; log-likelihoods are at most 0"),
        ({"logprobs": [-1.0, -2.0], "tokens": [1]}, r"'tokens' is 1 values"),
        ({"logprobs": [-1.0, -2.0], "tokens": [1, 1.5]}, r"1\.5; counts are needed"),
    ],
)
def test_log_likelihoods_that_do_not_fit_the_request_are_refused(answers, row, complaint):
    with pytest.raises(InvalidData, match=rf"answers\.jsonl, line 1: .*{complaint}"):
        answers([{"id": "a", **row}], [question("a", "choices", continuations=(" A", " B"))])


def test_a_text_that_is_no_string_is_refused(answers):
    with pytest.raises(InvalidData, match="line 1: 'text' of sample 'a' is int 4"):
        answers([{"id": "a", "text": 4}], [question("a")])


def test_a_column_that_no_row_has_is_a_wrong_name_not_a_missing_answer(answers):
    with pytest.raises(InvalidData, match=r"no column 'txet'. Columns: id, text\."):
        answers([{"id": "a", "text": "x"}], [question("a")], text="txet")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            b'{"id": "a", "text": "1"}\n\n{"id": "b"}\n{"id": "a", "text": "2"}\n',
            r"'a' is answered twice, on line 1 and line 4",
        ),
        (b'{"id": "a"}\n{"id": \n', r"answers\.jsonl, line 2: not valid JSON"),
        (b'{"id": "a"}\n{"id": "\xff"}\n', r"answers\.jsonl, line 2: not valid JSON"),
        (b'{"id": "a"}\n[1]\n', r"line 2: an object is needed, not list"),
        (b'{"name": "a"}\n', r"line 1: 'id' is None; .*Columns there are: name"),
        (b'{"id": 1.5}\n', r"line 1: 'id' is 1\.5"),
        (b"\n", r"the file holds no answers"),
        (b"", r"the file holds no answers"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_with_its_line(settings, tmp_path, content, complaint):
    with pytest.raises(InvalidData, match=complaint):
        opened(settings, tmp_path, content)


def test_a_byte_order_mark_is_no_part_of_the_first_line(settings, tmp_path):
    replay = opened(settings, tmp_path, b'\xef\xbb\xbf{"id": "a", "text": "x"}\n')
    assert [r.text for r in replay.answer([question("a")], GREEDY)] == ["x"]


def test_parquet_reads_like_jsonl(settings, tmp_path):
    table = pa.table({"id": ["a", "b"], "text": ["x", None], "logprobs": [[-1.0], [-2.0]]})
    pq.write_table(table, tmp_path / "answers.parquet")
    replay = Replay.open(replaying("answers.parquet"), None, "demo", settings)
    assert [r.text for r in replay.answer([question("a"), question("b")], GREEDY)] == ["x", None]
    (scored,) = replay.answer([question("b", "choices", continuations=("B",))], GREEDY)
    assert scored.likelihoods == (Likelihood(-2.0, 0, 1),)


def test_a_repeated_id_in_parquet_is_named_with_its_rows(settings, tmp_path):
    pq.write_table(pa.table({"id": ["a", "b", "a"], "text": ["x", "y", "z"]}), tmp_path / "answers.parquet")
    with pytest.raises(InvalidData, match="'a' is answered twice, on row 1 and row 3"):
        Replay.open(replaying("answers.parquet"), None, "demo", settings)


def test_a_broken_parquet_file_is_invalid_data(settings, tmp_path):
    with pytest.raises(InvalidData, match=r"answers\.parquet: not a readable Parquet file"):
        opened(settings, tmp_path, b"PAR1 cut short", "answers.parquet")


def test_other_file_types_are_refused(settings, tmp_path):
    with pytest.raises(InvalidData, match=r"'\.csv' is none of these"):
        opened(settings, tmp_path, b"id,text\n", "answers.csv")


def test_dataset_in_the_path_stands_for_the_dataset(settings, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "out.jsonl").write_text('{"id": "a", "text": "x"}\n')
    assert "a" in Replay.open(replaying("{dataset}/out.jsonl"), None, "demo", settings).rows


def test_a_missing_file_is_reported_with_where_it_was_looked_for(settings, tmp_path):
    for act in (Replay.identity, Replay.open):
        with pytest.raises(MissingSource, match="LLM_EVAL_DATASETS") as raised:
            act(replaying("{dataset}.jsonl"), None, "demo", settings)
        assert str(tmp_path / "demo.jsonl") in str(raised.value)


def test_identity_is_the_files_content_and_the_columns_read(settings, tmp_path):
    def identity(content: str, **columns: str) -> str:
        (tmp_path / "answers.jsonl").write_text(content)
        return Replay.identity(replaying(**columns), None, "demo", settings)

    first = identity("one")
    assert identity("two") != first
    assert identity("one") == first
    assert identity("one", text="completion") != first
