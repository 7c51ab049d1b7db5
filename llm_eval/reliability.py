"""Can a judge be trusted? Its published judgements beside people's labels, or beside another judge's judgements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

from llm_eval import layout, results, storage, tables
from llm_eval.agreement.correlation import kendall, pearson, spearman
from llm_eval.agreement.kappa import cohen_kappa, percent_agreement, weighted_kappa
from llm_eval.agreement.ratings import Agreement, Rating
from llm_eval.errors import InputError, InvalidData, UnknownName
from llm_eval.records import PublishedJudgement, Result
from llm_eval.sources.formats import parse

GRADES = ("incorrect", "not_attempted", "correct")
SIDES = ("loss", "tie", "win")
MOST_CATEGORIES = 30


@dataclass(frozen=True, slots=True)
class Ratings:
    """What one rater said of each sample (its first attempt); None with the reason in `why` where it said nothing.

    scale: the labels that may be given, in order; () for numbers. A pair is win, tie or loss for the model over both
    orders, a conversation the mean of its turns.
    """

    rater: str
    scale: tuple[str, ...]
    of: Mapping[str, Rating | None]
    why: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reliability:
    """`left_out`: reason → samples; `confusion`: (first's label, second's label) → samples, of labels alone."""

    first: str
    second: str
    n: int
    left_out: Mapping[str, int]
    statistics: Mapping[str, Agreement]
    confusion: Mapping[tuple[str, str], int]


def judged_run(root: str, run: str) -> Result:
    """The headline of the published run with this id or address. Raises InputError."""
    run_id = run.rstrip("/").rpartition("/")[2]
    rows = [row for row in results.run(root, run_id) if row.headline]
    if not rows:
        raise InputError(f"no run {run_id!r} has been published under {root}")
    if len(rows) > 1:
        raise InputError(f"several runs are called {run_id!r}; give the address of one, as `llm-eval plan` prints it")
    return rows[0]


def judge_ratings(root: str, row: Result, judge: str = "") -> Ratings:
    """What one judge said in a run; `judge` may be empty where there is one. Raises InputError."""
    place = (f"model={row.model}", f"dataset={row.dataset}", f"{row.run_id}.parquet")
    address = layout.join(layout.results(root, "judgements"), *place)
    if not storage.exists(address):
        raise InputError(f"run {row.run_id!r} has no judgements: its dataset {results.reference(row)} names no judge")
    everything = tables.read(address, PublishedJudgement)
    names = sorted({each.judge for each in everything})
    if judge and judge not in names:
        raise UnknownName(f"judge of run {row.run_id!r}", judge, names)
    if not judge and len(names) > 1:
        raise InputError(f"run {row.run_id!r} has several judges, say which: {', '.join(names)}")
    chosen = judge or names[0]
    by_sample: dict[str, list[PublishedJudgement]] = {}
    for each in everything:
        if each.judge == chosen and each.attempt == 0:
            by_sample.setdefault(each.sample_id, []).append(each)
    scored = [each for given in by_sample.values() for each in given if each.status == "scored"]
    scale = _scale(scored)
    of: dict[str, Rating | None] = {}
    why: dict[str, str] = {}
    for sample, given in by_sample.items():
        missing = next((each for each in given if each.status != "scored"), None)
        of[sample] = None if missing is not None else _rating(given, scale)
        if missing is not None:
            why[sample] = (
                "failed or unreadable" if missing.status == "failed" else "empty answer, not shown to the judge"
            )
    return Ratings(f"judge {chosen}", scale, of, why)


def _scale(scored: Sequence[PublishedJudgement]) -> tuple[str, ...]:
    if any(each.order is not None for each in scored):
        return SIDES
    return GRADES if scored and all(each.verdict in GRADES for each in scored) else ()


def _rating(given: Sequence[PublishedJudgement], scale: tuple[str, ...]) -> Rating | None:
    if scale == GRADES:
        return given[-1].verdict
    mean = fsum(each.value for each in given if each.value is not None) / len(given)
    return SIDES[1 + (mean > 0.5) - (mean < 0.5)] if scale == SIDES else mean


def human_ratings(path: str, data: bytes, like: Ratings, id_column: str = "id", label_column: str = "label") -> Ratings:
    """Labels or numbers of a csv, tsv, json, jsonl or Parquet file, on the scale of `like`; a blank cell is none.

    Raises InvalidData for a column, a label or a number that is not there, and for a sample labelled twice.
    """
    of: dict[str, Rating | None] = {}
    for place, row in enumerate(parse(path, data), start=1):
        for column in (id_column, label_column):
            if column not in row:
                raise InvalidData(f"{path}: there is no column {column!r}. Columns: {', '.join(row)}.")
        sample, said = str(row[id_column]).strip(), row[label_column]
        if sample in of:
            raise InvalidData(f"{path}, row {place}: sample {sample!r} is labelled twice")
        of[sample] = _human(f"{path}, row {place}", "" if said is None else str(said).strip(), like.scale)
    return Ratings(path, like.scale, of, {sample: "unlabelled" for sample, said in of.items() if said is None})


def _human(where: str, said: str, scale: tuple[str, ...]) -> Rating | None:
    if not said:
        return None
    if scale:
        if said.lower() not in scale:
            raise InvalidData(f"{where}: label {said!r} is none of {', '.join(scale)}")
        return said.lower()
    try:
        return float(said)
    except ValueError:
        raise InvalidData(f"{where}: {said!r} is not a number, and the judge gives numbers") from None


def compared(first: Ratings, second: Ratings) -> Reliability:
    """Raises InvalidData where nothing is rated by both, or one gives labels of another kind than the other."""
    if first.scale != second.scale:
        raise InvalidData(f"{first.rater} and {second.rater} do not rate on the same scale")
    left_out: Counter[str] = Counter()
    pairs: list[tuple[Rating, Rating]] = []
    for sample in sorted({*first.of, *second.of}):
        a, b = first.of.get(sample), second.of.get(sample)
        if a is not None and b is not None:
            pairs.append((a, b))
            continue
        rater = first if a is None else second
        left_out[f"{rater.rater}: {rater.why.get(sample, 'not rated')}"] += 1
    if not pairs:
        known = ", ".join(list(first.of)[:3]), ", ".join(list(second.of)[:3])
        raise InvalidData(
            f"no sample is rated by both {first.rater} ({known[0]}, …) and {second.rater} ({known[1]}, …). "
            "Are these ids of the same dataset?"
        )
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    confusion = Counter((str(a), str(b)) for a, b in pairs) if first.scale else Counter[tuple[str, str]]()
    return Reliability(
        first.rater, second.rater, len(pairs), dict(left_out), _statistics(one, other, first.scale), dict(confusion)
    )


def _statistics(one: Sequence[Rating], other: Sequence[Rating], scale: tuple[str, ...]) -> dict[str, Agreement]:
    found = {"percent agreement": percent_agreement(one, other)}
    if scale:
        found["Cohen's kappa"] = cohen_kappa(one, other)
        if scale == SIDES:
            found["weighted kappa (quadratic)"] = weighted_kappa(one, other, scale)
        return found
    values = [value for value in (*one, *other) if isinstance(value, float)]
    low, high = min(values), max(values)
    if all(value.is_integer() for value in values) and 0 < high - low < MOST_CATEGORIES:
        # Unused categories beyond the ends change nothing: kappa does not depend on the unit of distance.
        categories = [float(value) for value in range(int(low), int(high) + 1)]
        found["weighted kappa (quadratic)"] = weighted_kappa(one, other, categories)
    return found | {
        "Pearson": pearson(one, other),
        "Spearman": spearman(one, other),
        "Kendall's tau-b": kendall(one, other),
    }
