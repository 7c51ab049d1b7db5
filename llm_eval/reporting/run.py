"""What `llm-eval run` prints at its end: one run's headline, its groups, its best and worst subsets, and its counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llm_eval.errors import InputError
from llm_eval.records import Result
from llm_eval.reporting.figures import half_width, interval, value_with_half_width, without_failed, written
from llm_eval.reporting.leaderboard import WHOLE, Column, is_group, marks, printable, whole_and_parts
from llm_eval.results import reference

_EXTREMES = 5


def run_report(rows: Sequence[Result]) -> str:
    """The rows of one run as a short text. Raises InputError for none, or for those of several runs."""
    if len({row.run_id for row in rows}) != 1:
        raise InputError(f"a run's report needs the rows of one run, not of {len({row.run_id for row in rows})}")
    headline = next((row for row in rows if row.headline), rows[0])
    sections = (_headline(headline, rows), _metrics(headline, rows), _parts(headline, rows), _counts(headline))
    return "\n\n".join("\n".join(lines) for section in sections if (lines := list(section)))


def _headline(headline: Result, rows: Sequence[Result]) -> Iterator[str]:
    model = Column(headline.model, headline.checkpoint).label
    better = "" if headline.higher_is_better else " (lower is better)"
    around = f"   95% interval {interval(headline)}" if interval(headline) else ""
    yield f"{model} on {reference(headline)}"
    yield f"{headline.metric}{better}  {value_with_half_width(headline)}{marks(headline)}{around}"
    others = [r for r in rows if (r.metric, r.subset) == (headline.metric, WHOLE) and r is not headline]
    if others:
        yield f"{_kind(headline)}; {', '.join(f'{_kind(r)}: {written(r.value, r.unit)}' for r in others)}"
    if headline.failed:
        yield f"! {headline.failed:,} samples failed through no fault of the model; {without_failed(headline)}"
    if headline.sample_limit is not None:
        yield f"* asked only {headline.samples:,} samples (limit {headline.sample_limit:,})"
    if changed := headline.params.get("overrides"):
        yield f"~ catalog values changed for this run: {' '.join(sorted(changed))}"


def _kind(row: Result) -> str:
    kinds = {
        "macro": "mean over subsets (macro)",
        "micro": "mean over samples (micro)",
        "groups": "mean of the groups' means",
    }
    return kinds.get(row.aggregation, "mean over samples")


def _metrics(headline: Result, rows: Sequence[Result]) -> Iterator[str]:
    others = [r for r in whole_and_parts(rows) if r.subset == WHOLE and r.metric != headline.metric]
    return _table("further metrics", [(row.metric, row) for row in others])


def _parts(headline: Result, rows: Sequence[Result]) -> Iterator[str]:
    seen = [row for row in whole_and_parts(rows) if row.metric == headline.metric and row.subset != WHOLE]
    groups = [row for row in seen if is_group(row)]
    best_first = sorted(
        (row for row in seen if not is_group(row)), key=lambda row: row.value, reverse=headline.higher_is_better
    )
    sections = [("groups", groups)]
    if len(best_first) > 2 * _EXTREMES:
        sections += [("best subsets", best_first[:_EXTREMES]), ("worst subsets", best_first[-_EXTREMES:][::-1])]
    elif len(best_first) > 1:
        sections.append(("subsets", best_first))
    shown = [list(_table(title, [(printable(r.subset), r) for r in part])) for title, part in sections if part]
    return (line for number, lines in enumerate(shown) for line in ([""] if number else []) + lines)


def _table(title: str, rows: Sequence[tuple[str, Result]]) -> Iterator[str]:
    from rich.cells import cell_len

    if not rows:
        return
    width = max(cell_len(title), *(cell_len(name) for name, _ in rows))
    values = max(len(written(row.value, row.unit)) for _, row in rows)
    halves = max(len(half_width(row)) for _, row in rows)
    yield title
    for name, row in rows:
        value = f"{written(row.value, row.unit):>{values}} {half_width(row):>{halves}}"
        yield f"  {name}{' ' * (width - cell_len(name))}  {value}{marks(row)}  {row.samples:,} samples"


def _counts(row: Result) -> Iterator[str]:
    yield f"samples {row.samples:,}   scored {row.scored:,}   no answer {row.no_answer:,}   failed {row.failed:,}"
    cost = "" if row.cost_usd is None else f"   cost {_usd(row.cost_usd)} USD"
    yield f"tokens {row.input_tokens:,} in, {row.output_tokens:,} out   inference {row.infer_seconds:,.1f} s{cost}"
    if row.judge is not None:
        spent = "" if row.judge_cost_usd is None else f"   cost {row.judge_cost_usd:,.2f} USD"
        tokens = f"{row.judge_input_tokens or 0:,} in, {row.judge_output_tokens or 0:,} out"
        yield f"judge {row.judge}   tokens {tokens}{spent}"
    if effort := list(_effort(row)):
        yield "   ".join(effort)
    yield f"version {row.dataset_version}   mode {row.mode}   run {row.run_id}"


def _usd(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.2g}"  # a small run costs fractions of a cent


def _effort(row: Result) -> Iterator[str]:
    """What is known of how the tokens were read and written, and of the memory that it took."""
    if row.prefill_tokens is not None:
        speed = "" if row.prefill_tokens_per_second is None else f" at {row.prefill_tokens_per_second:,.0f} tokens/s"
        reused = "" if row.prefix_reuse_fraction is None else f", {row.prefix_reuse_fraction:.1%} reused"
        yield f"prefill {row.prefill_tokens:,}{speed}{reused}"
    if row.decode_tokens_per_second is not None:
        yield f"decode {row.decode_tokens_per_second:,.0f} tokens/s"
    if row.latency_p50_seconds is not None:
        first = "" if row.first_token_p50_seconds is None else f", first token {row.first_token_p50_seconds:.3g} s"
        slow = f"p90 {row.latency_p90_seconds:.3g} s, p99 {row.latency_p99_seconds:.3g} s"
        yield f"latency p50 {row.latency_p50_seconds:.3g} s, {slow}{first}"
    if row.peak_memory_gib is not None:
        gpu = "" if row.peak_gpu_memory_gib is None else f", GPU {row.peak_gpu_memory_gib:.2f} GiB"
        yield f"peak memory {row.peak_memory_gib:.2f} GiB{gpu}"
