"""Rounds as spreadsheets, csv or xlsx: one row an item, nothing in it that a spreadsheet would run.

A cell that begins like a formula (= + - @), a tab or an apostrophe gets an apostrophe before it, and loses it again
when the sheet is read.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from llm_eval.errors import InputError, UnknownName
from llm_eval.human.records import Item
from llm_eval.human.rounds import Round
from llm_eval.human.showing import plain, question_of
from llm_eval.specs import HumanPreference

FORMATS = ("csv", "xlsx")
ROUND, ITEM, QUESTION, VERDICT, COMMENT, RATER = "round", "item", "question", "verdict", "comment", "rater"
ACTIVE = ("=", "+", "-", "@", "\t", "'")
CELL_CHARACTERS = 32_767  # of a cell in xlsx; openpyxl would cut what is longer, without a word


class Row(NamedTuple):
    """A row of a sheet; `number` is the one that spreadsheets show, the head being row 1."""

    number: int
    values: dict[str, str]


def columns(made: Round) -> tuple[str, ...]:
    return ROUND, ITEM, QUESTION, *answer_columns(made), VERDICT, COMMENT, RATER


def answer_columns(made: Round) -> tuple[str, ...]:
    return ("answer 1", "answer 2") if isinstance(made.human.ask, HumanPreference) else ("answer",)


def verdicts(made: Round) -> tuple[str, ...]:
    """What may stand in the verdict column."""
    ask = made.human.ask
    return ("1", "2", "tie") if isinstance(ask, HumanPreference) else tuple(str(value) for value in ask.scale)


def export(made: Round, format: str, rater: str = "") -> bytes:
    """The sheet of a round, verdicts blank. Raises UnknownName for another format, InputError for a text too long."""
    check_format(format)
    rows = [[_escaped(cell) for cell in row] for row in _rows(made, rater)]
    return _csv(made, rows) if format == "csv" else _xlsx(made, rows)


def check_format(format: str) -> None:
    """Raises UnknownName for a format that there is none of."""
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)


def _rows(made: Round, rater: str) -> Iterator[list[str]]:
    for item in made.items:
        yield [f"{made.suite}/{made.name}", item.id, *texts(item), "", "", rater]


def texts(item: Item) -> list[str]:
    """Question and answers as they stand in the cells, before they are escaped."""
    return [plain(text) for text in (item.question, *item.answers)]


def _escaped(text: str) -> str:
    return f"'{text}" if text.startswith(ACTIVE) else text


def _unescaped(text: str) -> str:
    return text[1:] if text.startswith("'") else text


def _csv(made: Round, rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns(made))
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")  # with the mark, without which Excel takes it for another encoding


def _xlsx(made: Round, rows: Sequence[Sequence[str]]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font
    from openpyxl.worksheet.datavalidation import DataValidation

    book = Workbook()
    sheet = book.active
    sheet.title = "items"
    names = columns(made)
    for number, row in enumerate([names, *rows], start=1):
        for place, cell in enumerate(row, start=1):
            if len(cell) > CELL_CHARACTERS:
                raise InputError(
                    f"item {row[1]}, {names[place - 1]}: {len(cell):,} characters, and a cell of xlsx holds "
                    f"{CELL_CHARACTERS:,}. Export it as csv."
                )
            made_cell = sheet.cell(number, place)
            made_cell.value = cell
            made_cell.data_type = "s"  # never a formula
            made_cell.alignment = Alignment(wrap_text=True, vertical="top")
            if number == 1:
                made_cell.font = Font(bold=True)
    for place, name in enumerate(names):
        letter = "ABCDEFGHIJ"[place]
        sheet.column_dimensions[letter].width = 60 if name == QUESTION or name.startswith("answer") else 16
        if name == VERDICT:
            choices = DataValidation(type="list", formula1=f'"{",".join(verdicts(made))}"', allow_blank=True)
            choices.prompt, choices.showErrorMessage = question_of(made.human), False
            sheet.add_data_validation(choices)
            choices.add(f"{letter}2:{letter}{len(rows) + 1}")
    sheet.freeze_panes = "A2"
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def read(name: str, data: bytes) -> list[Row]:
    """The rows of a filled-in sheet below its head, blank ones left out. Raises InputError naming file and fault."""
    lines = _read_xlsx(name, data) if data.startswith(b"PK") else _read_csv(name, data)
    head = [cell.strip().lower() for cell in next(lines, [])]
    if missing := [column for column in (ROUND, ITEM, QUESTION, VERDICT) if column not in head]:
        raise InputError(
            f"{name}, row 1: no column {', '.join(map(repr, missing))}. The head must stay as `llm-eval human export` "
            "wrote it."
        )
    found = []
    for number, cells in enumerate(lines, start=2):
        if any(cell.strip() for cell in cells):
            padded = [*cells, *[""] * (len(head) - len(cells))]
            found.append(Row(number, {column: _unescaped(padded[place]) for place, column in enumerate(head)}))
    return found


def _read_csv(name: str, data: bytes) -> Iterator[list[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: not UTF-8 ({error.reason} at byte {error.start}). Save it as `CSV UTF-8`."
        ) from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)  # spreadsheets write ; where the comma is for decimals
    csv.field_size_limit(1 << 30)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        raise InputError(f"{name}: not readable as csv: {error}. Export the round again and fill that in.") from error


def _read_xlsx(name: str, data: bytes) -> Iterator[list[str]]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        sheet = load_workbook(io.BytesIO(data), read_only=True, data_only=True).worksheets[0]
        for row in sheet.iter_rows(values_only=True):
            yield [_text(cell) for cell in row]
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, IndexError) as error:
        raise InputError(f"{name}: not a readable xlsx file ({error}). Save it again, or use csv.") from error


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
