import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_eval.errors import InvalidData, InvalidSpec
from llm_eval.sources.formats import lines, parse


def csv(text, header=None):
    return parse("q.csv", text.encode(), header)


def test_quotes_may_hold_commas_quotes_and_line_ends():
    assert csv('q,a\n"1, ""two""\nthree",B\n') == [{"q": '1, "two"\nthree', "a": "B"}]


def test_cells_are_strings_with_their_blanks():
    assert csv("q,n\n x ,01\n") == [{"q": " x ", "n": "01"}]


def test_a_byte_order_mark_is_no_part_of_the_first_column_name():
    assert parse("q.csv", b"\xef\xbb\xbfq,a\n1,2\n") == [{"q": "1", "a": "2"}]


def test_blank_lines_are_passed_over_and_the_last_line_end_may_be_missing():
    assert csv("q,a\n1,2\n\n3,4") == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]


def test_windows_line_ends_end_rows_and_stay_within_quotes():
    assert csv('q,a\r\n"1\r\n2",B\r\n') == [{"q": "1\r\n2", "a": "B"}]


@pytest.mark.parametrize("row", ["5", "5,6,7"])
def test_a_row_with_another_number_of_cells_is_named_by_the_line_it_begins_on(row):
    with pytest.raises(InvalidData, match=r"q\.csv, line 5: \d cells under 2 column names"):
        csv(f'q,a\n"1\n2",x\n3,4\n{row}\n')


def test_an_unclosed_quote_does_not_swallow_the_rest():
    with pytest.raises(InvalidData, match=r"q\.csv, line 3: unexpected end of data"):
        csv('q,a\n1,2\n"3,4\n5,6\n')


def test_a_cell_may_be_longer_than_the_csv_module_allows_by_itself():
    assert len(csv("q\n" + "x" * 200_000)[0]["q"]) == 200_000


def test_a_file_without_header_row_takes_its_names_from_the_source():
    assert csv("1,2\n3,4\n", ("q", "a")) == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]


def test_names_for_a_file_that_has_a_header_row_are_refused():
    with pytest.raises(InvalidSpec, match="remove `header`"):
        csv("q,a\n1,2\n", ("q", "a"))


def test_a_header_with_a_name_twice_is_refused():
    with pytest.raises(InvalidSpec, match=r"names a column twice: q, q\. If the file has no header row"):
        csv("q,q\n1,2\n")


def test_names_are_for_separated_values_only():
    with pytest.raises(InvalidSpec, match="`header` is for csv and tsv"):
        parse("q.jsonl", b'{"q": 1}', ("q",))


def test_tsv_is_csv_with_tabs():
    assert parse("q.tsv", b'q\ta\n1, 2\t"x\ty"\n') == [{"q": "1, 2", "a": "x\ty"}]


def test_jsonl_values_keep_their_types():
    row = {"n": 1, "list": ["a"], "nothing": None}
    assert parse("q.jsonl", json.dumps(row).encode() + b"\n\n") == [row]


def test_a_line_separator_within_a_json_string_ends_no_line():
    assert parse("q.jsonl", '{"q": "a\u2028b\x85c"}\n'.encode()) == [{"q": "a\u2028b\x85c"}]


def test_a_torn_last_line_is_named():
    with pytest.raises(InvalidData, match=r"q\.jsonl, line 3: not valid JSON .*cut short"):
        parse("q.jsonl", b'{"q": 1}\n\n{"q": 2, "a')


def test_a_json_line_that_is_no_object_is_named():
    with pytest.raises(InvalidData, match=r"q\.jsonl, line 2: expected an object of columns, found list"):
        parse("q.jsonl", b"{}\n[1]\n")


def test_json_is_a_list_of_objects():
    assert parse("q.json", b'[{"q": 1}, {"q": 2}]') == [{"q": 1}, {"q": 2}]


@pytest.mark.parametrize(
    ("text", "message"), [(b'{"q": 1}', "expected a list of objects, found dict"), (b"[1]", r"item 0 \(from 0\)")]
)
def test_other_json_is_refused(text, message):
    with pytest.raises(InvalidData, match=message):
        parse("q.json", text)


def test_parquet_gives_plain_values():
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"q": ["a"], "choices": [["x", "y"]], "answer": [1]}), buffer)

    assert parse("q.parquet", buffer.getvalue().to_pybytes()) == [{"q": "a", "choices": ["x", "y"], "answer": 1}]


def test_what_is_not_parquet_is_refused():
    with pytest.raises(InvalidData, match=r"q\.parquet: not a readable Parquet file"):
        parse("q.parquet", b"PAR1 and no more")


@pytest.mark.parametrize("name", ["q.txt", "q.lst"])
def test_each_line_of_a_text_file_is_a_row(name):
    assert parse(name, b"one\r\n\n two \n") == [{"text": "one"}, {"text": ""}, {"text": " two "}]


def test_lines_without_a_last_line_end():
    assert lines("q.txt", b"a\nb") == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "data"),
    [("q.csv", b""), ("q.csv", b"q,a\n"), ("q.jsonl", b"\n"), ("q.json", b"[]"), ("q.txt", b""), ("q.tsv", b"\n\n")],
)
def test_an_empty_file_is_named(name, data):
    with pytest.raises(InvalidData, match=f"{name}: the file is empty"):
        parse(name, data)


def test_a_file_in_another_encoding_is_named_with_the_line():
    with pytest.raises(InvalidData, match=r"q\.csv, line 3: not UTF-8"):
        parse("q.csv", "q\nok\n答案".encode("gbk"))


def test_an_unknown_suffix_lists_the_known_ones():
    with pytest.raises(InvalidSpec, match=r"'\.xlsx' are not read, only \.csv, \.tsv, \.jsonl"):
        parse("q.xlsx", b"x")
