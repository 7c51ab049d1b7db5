import csv
import io

import pytest

from llm_eval.errors import InputError, UnknownName
from llm_eval.human import rounds, sheets
from llm_eval.human.imports import import_sheet
from llm_eval.human.report import report
from tests.builders import NOON
from tests.human.conftest import QUESTIONS

RATING = {"kind": "rating", "low": 1, "high": 5}
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=1", "plain")


@pytest.fixture
def made(house):
    house.run()
    return rounds.start(house.settings, house.panel, "round-1", "seed", NOON)


def rows_of(data):
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def sheet(made, change=lambda rows: None, format="csv"):
    """The round's sheet as a rater gives it back: changed row by row."""
    rows = rows_of(sheets.export(made, "csv"))
    change(rows)
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def answered(*verdicts, rater="eve"):
    """A change that fills in the verdicts of the first rows."""

    def change(rows):
        for row, verdict in zip(rows, verdicts, strict=False):
            row.update(verdict=verdict, rater=rater)

    return change


def take(house, data, name="eve.csv", now=NOON, **options):
    return import_sheet(house.settings.root, name, data, now, **options)


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_a_filled_in_sheet_comes_back_as_answers(house, made, format):
    data = sheet(made, answered("1", "2", "Tie", ""), format)

    assert take(house, data, f"eve.{format}") == (made, 3)

    found = {each.item_id: each.answer for each in rounds.answers_of(made)}
    assert [found.get(item.id) for item in made.items] == ["first", "second", "tie", None]


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_what_is_exported_can_be_read_back(made, format):
    found = sheets.read(f"x.{format}", sheets.export(made, format, "eve"))

    assert [row.number for row in found] == [2, 3, 4, 5]
    assert [(r.values["item"], r.values["question"], r.values["answer 2"], r.values["rater"]) for r in found] == [
        (item.id, item.question, item.answers[1], "eve") for item in made.items
    ]


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_no_cell_of_a_sheet_is_a_formula_and_all_texts_come_back(house, format):
    house.asks(RATING, samples=len(FORMULAS), models=["ada"])
    house.answers("ada", {i: FORMULAS[i % len(FORMULAS)] for i in range(QUESTIONS)})
    house.run("ada")
    made = rounds.start(house.settings, house.panel, "round-1", "seed", NOON)

    data = sheets.export(made, format)

    if format == "csv":
        cells = [cell for row in rows_of(data) for cell in row.values()]
    else:
        from openpyxl import load_workbook

        found = list(load_workbook(io.BytesIO(data)).active.iter_rows())
        assert {cell.data_type for row in found for cell in row if cell.value} == {"s"}
        cells = [cell.value or "" for row in found for cell in row]
    assert [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t")] == []
    assert [row.values["answer"] for row in sheets.read("x", data)] == [item.answers[0] for item in made.items]
    assert len({item.answers[0] for item in made.items}) > 4


def test_an_exported_workbook_is_filled_in_as_a_spreadsheet_does(house, made):
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(sheets.export(made, "xlsx", "eve")))
    sheet = book.active
    place = [cell.value for cell in sheet[1]].index("verdict") + 1
    sheet.cell(2, place).value, sheet.cell(3, place).value, sheet.cell(4, place).value = 1, 2.0, "TIE"
    data = io.BytesIO()
    book.save(data)

    take(house, data.getvalue(), "eve.xlsx")

    assert [validation.formula1 for validation in sheet.data_validations.dataValidation] == ['"1,2,tie"']
    found = {each.item_id: each.answer for each in rounds.answers_of(made)}
    assert [found.get(item.id) for item in made.items] == ["first", "second", "tie", None]


def test_control_characters_are_shown_as_pictures(house):
    house.asks(RATING, samples=1, models=["ada"])
    house.answers("ada", dict.fromkeys(range(QUESTIONS), "a\x1b[31m\x00b\r\nc"))
    house.run("ada")
    made = rounds.start(house.settings, house.panel, "round-1", "seed", NOON)

    (row,) = sheets.read("x", sheets.export(made, "xlsx"))

    assert row.values["answer"] == "a␛[31m␀b\nc"


def test_a_text_too_long_for_a_cell_of_xlsx_is_refused_and_not_cut(house):
    house.asks(RATING, samples=1, models=["ada"])
    house.answers("ada", dict.fromkeys(range(QUESTIONS), "long " * 7000))
    house.run("ada")
    made = rounds.start(house.settings, house.panel, "round-1", "seed", NOON)

    with pytest.raises(InputError, match=r"answer: 35,000 characters, .* Export it as csv"):
        sheets.export(made, "xlsx")
    assert sheets.read("x", sheets.export(made, "csv"))[0].values["answer"] == "long " * 7000


def test_an_unknown_format_is_refused(made):
    with pytest.raises(UnknownName, match="'ods' is not known"):
        sheets.export(made, "ods")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_sheet_saved_with_another_separator_is_read(house, made, separator):
    rows = rows_of(sheets.export(made, "csv"))
    answered("1")(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)

    assert take(house, text.getvalue().encode("utf-8-sig"))[1] == 1


@pytest.mark.parametrize(("verdict", "meant"), [("4", "4"), (" 4.0 ", "4"), ("4,0", "4")])
def test_ratings_are_whole_numbers_however_a_spreadsheet_writes_them(house, verdict, meant):
    house.asks(RATING, models=["ada"])
    house.run("ada")
    made = rounds.start(house.settings, house.panel, "round-1", "seed", NOON)

    take(house, sheet(made, answered(verdict)))

    assert [each.answer for each in rounds.answers_of(made)] == [meant]


def unknown_item(rows):
    rows[0]["item"] = "0123456789ab"


def changed_question(rows):
    rows[1]["question"] += " Really?"


def changed_answer(rows):
    rows[1]["answer 2"] = "something else"


def twice(rows):
    rows[0].update(verdict="1", rater="eve")
    rows.append(dict(rows[0], verdict="2"))


def another_round(rows):
    rows[2]["round"] = "panel/round-9"


def all_of_another_round(rows):
    for row in rows:
        row["round"] = "panel/round-9"


def path_as_round(rows):
    for row in rows:
        row["round"] = "panel/../../etc"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (unknown_item, "eve.csv, row 2: there is no item '0123456789ab' in round panel/round-1. Copy the row's id"),
        (answered("3"), "eve.csv, row 2: item {0}: the verdict '3' is none of 1, 2, tie. Correct it."),
        (
            answered("1", rater=""),
            "eve.csv, row 2: item {0}: who answered? Fill in the column 'rater', or give --rater",
        ),
        (changed_question, "eve.csv, row 3: item {1}: 'question' is not what was exported"),
        (changed_answer, "eve.csv, row 3: item {1}: 'answer 2' is not what was exported"),
        (twice, "eve.csv, row 6: item {0}: eve has answered it in row 2 already. Delete one of the two rows."),
        (another_round, "eve.csv, row 4: of round 'panel/round-9', and row 2 is of 'panel/round-1'"),
        (all_of_another_round, "eve.csv, row 2: a sheet of round 'panel/round-9', which is not under"),
        (path_as_round, "eve.csv, row 2: a sheet of round 'panel/../../etc', which is not under"),
        (lambda rows: None, "eve.csv: no row has a verdict"),
        (lambda rows: rows.clear(), "eve.csv: no rows below the head"),
    ],
)
def test_a_mistake_in_a_sheet_is_named_with_its_row_and_nothing_is_imported(house, made, change, told):
    def good_and_bad(rows):
        if change is not None:
            answered("", "", "", "tie")(rows)
            change(rows)

    fault = told.format(*(item.id for item in made.items))
    data = sheet(made, good_and_bad) if "no row" not in told else _plain_sheet(made, change)

    with pytest.raises(InputError) as refused:
        take(house, data)

    assert fault in str(refused.value)
    assert rounds.answers_of(made) == []


def _plain_sheet(made, change):
    head, *lines = sheets.export(made, "csv").decode().splitlines(keepends=True)
    kept = list(lines)
    change(kept)
    return "".join([head, *kept]).encode()


def test_all_mistakes_of_a_sheet_are_named_at_once(house, made):
    with pytest.raises(InputError) as refused:
        take(house, sheet(made, answered("9", "better", "1")))

    assert str(refused.value).count("is none of 1, 2, tie") == 2
    assert str(refused.value).endswith("Nothing was imported.")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"PK\x03\x04 not a zip", "x: not a readable xlsx file"),
        (b"\xff\xfe\x00", "x: not UTF-8"),
        (b"a,b\n1,2\n", "x, row 1: no column 'round', 'item', 'question', 'verdict'"),
        (b"", "x, row 1: no column"),
        (b'round,item,question,verdict\n"open', "x: not readable as csv"),
    ],
)
def test_a_file_that_is_no_sheet_is_refused(data, told):
    with pytest.raises(InputError, match=told):
        sheets.read("x", data)


def test_whoever_filled_in_the_whole_sheet_can_be_named_once(house, made):
    take(house, sheet(made, answered("1", rater="")), rater="dan")

    assert [each.rater for each in rounds.answers_of(made)] == ["dan"]


def test_the_same_sheet_again_changes_nothing(house, made):
    data = sheet(made, answered("1", "2"))

    take(house, data)
    take(house, data, now=NOON.replace(hour=13))

    assert [each.answer for each in rounds.answers_of(made)].count("first") == 1
    assert len(rounds.answers_of(made)) == 2


def test_another_answer_of_the_same_rater_is_refused_unless_it_is_to_replace(house, made):
    take(house, sheet(made, answered("1")))
    later = NOON.replace(hour=13)

    with pytest.raises(InputError, match=r"eve has already answered it otherwise \(eve.csv, 2026-01-01T12"):
        take(house, sheet(made, answered("2")), now=later)
    assert [each.answer for each in rounds.answers_of(made)] == ["first"]

    take(house, sheet(made, answered("2")), now=later, replace=True)
    assert [each.answer for each in rounds.answers_of(made)] == ["second"]


def test_two_raters_sheets_are_compared(house, made):
    take(house, sheet(made, answered("1", "2", "1", "tie")))
    take(house, sheet(made, answered("1", "2", "1", "1", rater="dan")), "dan.csv")

    found = {row.statistic: row for row in report(house.settings.root, made).agreement}

    assert {(row.first, row.second) for row in found.values()} == {("dan", "eve")}
    assert (found["percent_agreement"].value, found["percent_agreement"].n) == (0.75, 4)
