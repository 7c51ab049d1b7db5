import pytest

from llm_eval import sources
from llm_eval.errors import InputError, InvalidData, InvalidSpec, MissingSource
from llm_eval.fingerprint import sha256_hex
from tests.builders import rows

SUBSETS = {
    "subsets": ["law", "logic"],
    "sources": [{"kind": "files", "path": "{subset}/test.jsonl", "few_shot_path": "{subset}/dev.jsonl"}],
}


@pytest.fixture
def two_subsets(house):
    house.dataset(**SUBSETS)
    for subset in ("law", "logic"):
        house.jsonl(f"{subset}/test.jsonl", rows(3, kind=subset))
        house.jsonl(f"{subset}/dev.jsonl", rows(2))
    return house


def resolve(house, reference="colours"):
    return sources.resolve(house.catalog.dataset(reference), house.settings)


def read(house, reference="colours"):
    dataset = house.catalog.dataset(reference)
    return sources.read(dataset, sources.resolve(dataset, house.settings), house.settings)


def test_every_file_is_pinned_by_its_hash_under_the_name_that_the_catalog_gives_it(two_subsets):
    pinned = resolve(two_subsets).files

    assert [file.path for file in pinned] == [
        "law/test.jsonl",
        "logic/test.jsonl",
        "law/dev.jsonl",
        "logic/dev.jsonl",
    ]
    assert pinned[0].sha256 == sha256_hex((two_subsets.data / "law/test.jsonl").read_bytes())


def test_rows_come_subset_by_subset_in_file_order(two_subsets):
    raw = read(two_subsets)

    assert [(subset, row["kind"], row["id"]) for subset, row in raw.questions] == [
        (subset, subset, i) for subset in ("law", "logic") for i in range(3)
    ]
    assert [subset for subset, _ in raw.few_shot] == ["law", "law", "logic", "logic"]


def test_one_absent_file_is_an_error_that_names_it_and_no_reason_to_use_the_next_source(two_subsets):
    two_subsets.jsonl("colours.jsonl", rows(3, kind="law"))
    second = {"kind": "files", "path": "colours.jsonl", "subset_column": "kind"}
    two_subsets.dataset(**{**SUBSETS, "sources": [*SUBSETS["sources"], second]})
    (two_subsets.data / "logic/test.jsonl").unlink()

    with pytest.raises(MissingSource, match=r"dataset 'colours': 1 of 4 files are absent: logic/test\.jsonl\."):
        resolve(two_subsets)


def test_the_next_source_is_used_where_nothing_of_the_first_is_there(house):
    house.dataset(sources=[{"kind": "files", "path": "elsewhere.csv"}, {"kind": "files", "path": "colours.jsonl"}])

    assert resolve(house).index == 1


def test_a_layout_whose_columns_do_not_fit_is_passed_over(house):
    house.jsonl("colours.jsonl", [{"id": 0, "q": "?", "options": ["x", "y"], "gold": "A"}])
    other = {"id": "{{ id }}", "input": "{{ q }}", "choices": "{{ options }}", "targets": "{{ gold }}"}
    source = {"kind": "files", "path": "colours.jsonl"}
    house.dataset(sources=[source, {**source, "fields": other}])

    assert resolve(house).index == 1
    assert read(house).questions.fields.input == "{{ q }}"


def test_columns_that_fit_no_source_are_listed(house):
    house.jsonl("colours.jsonl", [{"id": 0, "q": "?"}])

    with pytest.raises(InvalidSpec, match=r"columns do not fit: .*'question' is undefined.*(?s:.*)Mend `fields`"):
        resolve(house)


def test_a_place_for_subsets_needs_subsets(house):
    house.dataset(sources=[{"kind": "files", "path": "{subset}.csv"}])

    with pytest.raises(InvalidSpec, match="need the dataset's `subsets`"):
        resolve(house)


def test_nothing_found_lists_every_place_and_says_how_to_set_it(house):
    house.dataset(sources=[{"kind": "files", "path": "a.csv"}, {"kind": "files", "path": "b.csv"}])

    with pytest.raises(MissingSource) as caught:
        resolve(house)

    message = str(caught.value)
    assert f"files a.csv: a.csv is not in {house.data}" in message
    assert f"files b.csv: b.csv is not in {house.data}" in message
    assert "Set LLM_EVAL_DATASETS" in message


def test_a_file_changed_after_planning_is_refused(house):
    dataset, pinned = house.catalog.dataset("colours"), resolve(house)
    house.jsonl("colours.jsonl", rows(12, colour="new"))

    with pytest.raises(InvalidData, match=r"colours\.jsonl: changed since the run was planned"):
        sources.read(dataset, pinned, house.settings)


def test_a_few_shot_file_changed_after_planning_is_refused(two_subsets):
    dataset, pinned = two_subsets.catalog.dataset("colours"), resolve(two_subsets)
    two_subsets.jsonl("logic/dev.jsonl", rows(5))

    with pytest.raises(InvalidData, match=r"logic/dev\.jsonl: changed since"):
        sources.read(dataset, pinned, two_subsets.settings)


def test_a_file_gone_after_planning_is_missing(house):
    dataset, pinned = house.catalog.dataset("colours"), resolve(house)
    (house.data / "colours.jsonl").unlink()

    with pytest.raises(MissingSource, match=r"colours\.jsonl was there when the run was planned"):
        sources.read(dataset, pinned, house.settings)


@pytest.mark.parametrize(("few_shot", "fails"), [(None, False), ({"count": 2}, True)])
def test_absent_few_shot_files_matter_only_to_prompts_that_show_examples(two_subsets, few_shot, fails):
    (two_subsets.data / "law/dev.jsonl").unlink()
    (two_subsets.data / "logic/dev.jsonl").unlink()
    two_subsets.dataset(**SUBSETS, prompt={"kind": "generate", "template": "{{ input }}", "few_shot": few_shot})

    if fails:
        with pytest.raises(MissingSource, match=r"law/dev\.jsonl, logic/dev\.jsonl"):
            resolve(two_subsets)
    else:
        assert len(read(two_subsets).few_shot) == 0


def test_a_column_from_a_file_beside_is_matched_line_by_line(house):
    house.dataset(sources=[{"kind": "files", "path": "colours.jsonl", "extra_columns": {"label": "labels.lst"}}])
    (house.data / "labels.lst").write_text("\n".join(str(i) for i in range(12)) + "\n")

    assert [row["label"] for _, row in read(house).questions] == [str(i) for i in range(12)]


def test_a_column_file_with_another_number_of_lines_is_refused(house):
    house.dataset(sources=[{"kind": "files", "path": "colours.jsonl", "extra_columns": {"label": "labels.lst"}}])
    (house.data / "labels.lst").write_text("1\n2\n")

    with pytest.raises(InvalidData, match=r"labels\.lst: 2 lines for the 12 rows of colours\.jsonl"):
        resolve(house)


def test_a_column_may_name_the_subset_and_rows_are_sorted_by_it(house):
    house.jsonl("colours.jsonl", [{**row, "topic": "ba"[i % 2]} for i, row in enumerate(rows(4))])
    house.dataset(subsets=["a", "b"], sources=[{"kind": "files", "path": "colours.jsonl", "subset_column": "topic"}])

    assert [(subset, row["id"]) for subset, row in read(house).questions] == [("a", 1), ("a", 3), ("b", 0), ("b", 2)]


@pytest.mark.parametrize(
    ("subsets", "message"),
    [
        (["a"], "row 1 .* has topic 'b', which is not among the dataset's subsets: a"),
        (["a", "b", "c"], "no rows of subset 'c'"),
    ],
)
def test_a_column_that_disagrees_with_the_subsets_is_refused(house, subsets, message):
    house.jsonl("colours.jsonl", [{**row, "topic": "ab"[i]} for i, row in enumerate(rows(2))])
    house.dataset(subsets=subsets, sources=[{"kind": "files", "path": "colours.jsonl", "subset_column": "topic"}])

    with pytest.raises(InvalidData, match=message):
        read(house)


def test_subsets_must_be_told_apart_somehow(house):
    house.dataset(subsets=["a", "b"])

    with pytest.raises(InvalidSpec, match=r"write either \{subset\} in `path`, or `subset_column`"):
        resolve(house)


def test_samples_per_subset_cuts_questions_and_never_the_few_shot_rows(two_subsets):
    two_subsets.dataset(**SUBSETS, samples_per_subset=1)

    raw = read(two_subsets)

    assert [(subset, row["id"]) for subset, row in raw.questions] == [("law", 0), ("logic", 0)]
    assert len(raw.few_shot) == 4


def test_an_empty_file_stops_the_plan(house):
    (house.data / "colours.jsonl").write_text("")

    with pytest.raises(InvalidData, match=r"colours\.jsonl: the file is empty"):
        resolve(house)


def test_a_folder_in_a_files_place_is_an_input_error(house):
    house.dataset(sources=[{"kind": "files", "path": "."}])

    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        resolve(house)
