"""Filled-in sheets become answers: all of a sheet, or, where anything in it is wrong, nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from llm_eval.errors import InputError
from llm_eval.fingerprint import fingerprint, sha256_hex
from llm_eval.human import rounds, sheets
from llm_eval.human.records import FIRST, SECOND, TIE, Answer, Item
from llm_eval.human.rounds import Round
from llm_eval.human.sheets import COMMENT, ITEM, QUESTION, RATER, ROUND, VERDICT, Row
from llm_eval.specs import HumanPreference

SHOWN = 20  # faults in one message
_MEANT = {"1": FIRST, "2": SECOND, "answer 1": FIRST, "answer 2": SECOND, "tie": TIE}


def import_sheet(
    root: str, name: str, data: bytes, now: datetime, *, rater: str = "", replace: bool = False
) -> tuple[Round, int]:
    """Record a sheet's answers; its round, and how many there were. Rows without a verdict are unanswered.

    rater: of rows that name none. replace: the sheet's answers count instead of what the same raters have said before.
    Raises InputError that names file, row and next step for each fault; then nothing is recorded.
    """
    rows = sheets.read(name, data)
    made = _round(root, name, rows)
    found = answers(made, name, rows, now, rater)
    if not found:
        raise InputError(f"{name}: no row has a verdict: fill in the column {VERDICT!r} and save the file")
    if not replace:
        _refuse_changes(made, name, found)
    rounds.add_answers(made, f"sheet-{sha256_hex(data)[:12]}-{fingerprint(rater)[:4]}", [each for _, each in found])
    return made, len(found)


def _round(root: str, name: str, rows: Sequence[Row]) -> Round:
    if not rows:
        raise InputError(f"{name}: no rows below the head. `llm-eval human export` writes a sheet to fill in.")
    named = dict.fromkeys(row.values[ROUND].strip() for row in rows)
    first, *others = named
    if others:
        row = next(row for row in rows if row.values[ROUND].strip() == others[0])
        raise InputError(
            f"{name}, row {row.number}: of round {others[0]!r}, and row {rows[0].number} is of {first!r}: a sheet "
            "holds one round. Import the sheets of several rounds one by one."
        )
    suite, slash, one = first.partition("/")
    try:
        if not slash or ".." in first:
            raise InputError(f"{first!r} is no SUITE/ROUND")
        return rounds.find(root, f"{suite}/{one}")
    except InputError as error:
        raise InputError(
            f"{name}, row {rows[0].number}: a sheet of round {first!r}, which is not under {root}. Import it where it "
            f"was exported (--root), or export a round here. ({error})"
        ) from error


def answers(made: Round, name: str, rows: Sequence[Row], now: datetime, rater: str) -> list[tuple[int, Answer]]:
    """The answers of rows with a verdict, with the numbers of the rows. Raises InputError that lists all faults."""
    items = {item.id: item for item in made.items}
    faults: list[str] = []
    found: dict[tuple[str, str], tuple[int, Answer]] = {}
    for row in rows:
        who = row.values.get(RATER, "").strip() or rater
        wrong = list(_faults(made, row, items, who))
        item_id = row.values[ITEM].strip()
        if not wrong and row.values[VERDICT].strip():
            if (item_id, who) in found:
                earlier = found[item_id, who][0]
                wrong = [f"item {item_id}: {who} has answered it in row {earlier} already. Delete one of the two rows."]
            else:
                found[item_id, who] = row.number, _answer(made, name, row, who, now)
        faults += [f"{name}, row {row.number}: {fault}" for fault in wrong]
    if faults:
        more = [f"… and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise InputError("\n".join([*faults[:SHOWN], *more, "Nothing was imported."]))
    return list(found.values())


def _faults(made: Round, row: Row, items: dict[str, Item], who: str) -> Iterator[str]:
    item_id = row.values[ITEM].strip()
    item = items.get(item_id)
    if item is None:
        yield (
            f"there is no item {item_id!r} in round {made.suite}/{made.name}. Copy the row's id from a new export, or "
            "delete the row."
        )
        return
    shown = dict(zip((QUESTION, *sheets.answer_columns(made)), sheets.texts(item), strict=True))
    for column, text in shown.items():
        if _comparable(row.values.get(column, "")) != _comparable(text):
            yield (
                f"item {item_id}: {column!r} is not what was exported, so nobody knows what was answered. Export the "
                "round again and copy the verdicts into it."
            )
    if not (verdict := row.values[VERDICT].strip()):
        return
    if _meant(made, verdict) is None:
        yield f"item {item_id}: the verdict {verdict!r} is none of {', '.join(sheets.verdicts(made))}. Correct it."
    if not who:
        yield f"item {item_id}: who answered? Fill in the column {RATER!r}, or give --rater NAME."


def _comparable(text: str) -> str:
    """Spreadsheets change line ends and blanks, and may take a leading apostrophe for their own."""
    return " ".join(text.split()).lstrip("'")


def _meant(made: Round, verdict: str) -> str | None:
    if isinstance(made.human.ask, HumanPreference):
        return _MEANT.get(verdict.lower())
    try:
        number = float(verdict.replace(",", "."))
    except ValueError:
        return None
    return str(int(number)) if number in made.human.ask.scale else None


def _answer(made: Round, name: str, row: Row, who: str, now: datetime) -> Answer:
    moment = now.isoformat(timespec="microseconds")
    return Answer(
        item_id=row.values[ITEM].strip(),
        rater=who,
        answer=_meant(made, row.values[VERDICT].strip()),
        comment=row.values.get(COMMENT, "").strip(),
        answered_at=moment,
        source=name,
        recorded_at=moment,
    )


def _refuse_changes(made: Round, name: str, found: Sequence[tuple[int, Answer]]) -> None:
    known = {(answer.item_id, answer.rater): answer for answer in rounds.answers_of(made)}
    faults = []
    for number, answer in found:
        before = known.get((answer.item_id, answer.rater))
        if before is not None and before.answer not in (None, answer.answer):
            faults.append(
                f"{name}, row {number}: item {answer.item_id}: {answer.rater} has already answered it otherwise "
                f"({before.source}, {before.answered_at})"
            )
    if faults:
        raise InputError(
            "\n".join(
                [*faults[:SHOWN], "Nothing was imported. --replace has this sheet count instead of what was said."]
            )
        )
