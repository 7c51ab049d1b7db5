"""The rows that flow from stage to stage. Frozen, plain, one Parquet file type each (see tables.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

RequestKind = Literal["generate", "choices", "perplexity"]
Status = Literal["scored", "no_answer", "failed"]
FinishReason = Literal["stop", "length", "scored", "error"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One question. `input` is the user's first turn; `follow_ups` are those after the model's answers, if any.

    `choices` are texts in order; their labels are A, B, C, … (see `labels`). With choices, `targets` holds the label
    of the right one; without, every acceptable answer. `id` is unique within the dataset, and the same for every
    source, machine and order.
    """

    id: str
    subset: str
    input: str
    follow_ups: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the choices: A, B, C, … as many as there are choices (at most 26)."""
        return tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(self.choices)])


@dataclass(frozen=True, slots=True)
class Shot:
    """One worked example before the question: what the user says and what the model should have answered."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt for a model, its few-shot examples still separable (see prompts.assemble).

    kind "generate": continue the prompt. "choices": log-likelihood of each continuation given the prompt.
    "perplexity": log-likelihood of prompt and continuation together, for each continuation.
    Chat prompts have `messages` (the question's own turns, a system turn first where there is one), text prompts
    have `text`; `header` stands once before the first shot. `turn` counts from 1; that of a later turn holds its own
    user turn alone, and is asked once the turn before is answered. `temperature`: instead of the dataset's.
    """

    id: str
    sample_id: str
    kind: RequestKind
    header: str = ""
    shots: tuple[Shot, ...] = ()
    text: str | None = None
    messages: tuple[Message, ...] | None = None
    continuations: tuple[str, ...] = ()
    turn: int = 1
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-likelihood of one continuation: sum over its tokens in nats (<= 0), and how long it was.

    For kind "perplexity" the sum and the counts are of the whole text; `tokens` then counts the first token too,
    which has no probability of its own unless a BOS precedes it.
    """

    logprob: float
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token that an answer might have begun with, and its log-probability in nats (<= 0)."""

    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one request. `error` is None unless our call failed; then nothing else is meaningful.

    `shots` counts the few-shot examples that were really in the prompt; fewer than the request's where it did not fit.
    `likelihoods` has one entry per continuation, in order, for kinds "choices" and "perplexity".
    `prefill_tokens` were read by the model for this response, `reused_tokens` would have been if every sequence were
    read by itself; a prefix that several requests share counts as read for one of them. `latency_seconds` is this
    response's share of the wall time, `prefill_seconds` the part of it that was reading. `first_tokens` are the
    likeliest first tokens of the answer, where `generation.top_logprobs` asked for them, likeliest first.

    Of a server: `cost_usd` where its prices are known; `request_seconds` from sending the request that was answered (of
    several for one response, their sum) to its last byte, waiting for our own limits and earlier tries not included;
    `first_token_seconds` to its first token, where answers are streamed.
    """

    request_id: str
    attempt: int = 0
    text: str | None = None
    likelihoods: tuple[Likelihood, ...] = ()
    first_tokens: tuple[TokenLogprob, ...] = ()
    shots: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    prefill_tokens: int = 0
    reused_tokens: int = 0
    finish_reason: FinishReason = "stop"
    latency_seconds: float = 0.0
    prefill_seconds: float = 0.0
    error: str | None = None
    cost_usd: float | None = None
    request_seconds: float | None = None
    first_token_seconds: float | None = None
    continues: str | None = None
    """Of a later turn: the fingerprint of the answers it was asked after. Two runs at once may have had others each."""


LATER_OF_RESPONSES = ("continues",)
"""Columns that older files lack."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judge said of one answer, as published in `results/judgements`.

    `turn`: the turn judged, from 1. `order`: of answers shown side by side, "as_is" where the model's came first,
    "swapped" where it came last, None for an answer shown alone. `opponents`: whose answers stood beside it.
    `verdict` as read: a label, a number or a ranking; `value` is what it is worth for the model: correctness 0 or 1,
    None for not attempted; a rating as it is; of pairs 0 to 1; of rankings the share of the others placed behind it.
    `dimensions`: ratings by dimension. status "no_answer": the model said nothing, and was not shown; "failed": the
    model's or the judge's call failed, or its verdict could not be read, which `explanation` tells.
    `replies`: the ids of the judge's replies, the last of which was read; `reply` is its text.
    """

    sample_id: str
    subset: str
    attempt: int
    turn: int
    judge: str
    order: Literal["as_is", "swapped"] | None
    opponents: tuple[str, ...]
    verdict: str | None
    value: float | None
    status: Status
    dimensions: dict[str, float] = field(default_factory=dict)
    explanation: str = ""
    reply: str | None = None
    replies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """One metric's verdict on one response.

    status "scored": `value` is the model's. "no_answer": the model gave nothing usable; `value` is its penalty
    (0 for accuracy-like metrics), and it counts. "failed": our fault, `value` is None and leaves the mean.
    `statistics` are the sufficient statistics of corpus metrics (summed over samples before the metric's formula),
    empty for metrics that are plain means.
    """

    sample_id: str
    subset: str
    attempt: int
    metric: str
    value: float | None
    status: Status
    answer: str | None = None
    explanation: str = ""
    statistics: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One published row of `results/summary`: one metric over one subset, group or the whole dataset of one run.

    `value`, `stderr`, `ci_low`, `ci_high` are in the metric's `unit` ("fraction" is 0-1; reports show it as 0-100).
    `aggregation`: "samples" for one subset, "macro" for the unweighted mean over subsets, "micro" for the mean over
    samples of several subsets, "groups" for the mean of the groups' macro means. Exactly one row of a run has
    `headline`. `bound_low` and `bound_high` are what the value would be had every failed sample come out worst or best;
    None where that has no meaning.

    `judge` names who gave the values of a judged metric; `judge_…` is what all judging of the run took.

    What answering took is of the whole run, the same in each of its rows. `infer_seconds` sums over shards, so it is
    machine time. `prefill_tokens` were really read; `prefix_reuse_fraction` (0-1) of what reading every sequence by
    itself would take was saved by sharing. Prefill tokens per second of reading; answers' tokens per second of
    writing. `peak_memory_gib` is the resident memory of the process that ran infer since that process began (with
    `llm-eval run`, the stages before infer are in it), `peak_gpu_memory_gib` what tensors held on its GPUs together;
    of several shards, the largest one's. None where the backend does not say.

    Of a served model: `cost_usd` by the prices in its YAML, None unless the cost of every answer is known; `latency_*`
    are percentiles over responses of their `request_seconds`, `first_token_p50_seconds` of the time to the first token.
    """

    run_id: str
    suite: str | None
    model: str
    checkpoint: str | None
    checkpoint_created_at: str | None
    dataset: str
    variant: str | None
    dataset_version: str
    mode: str
    subset: str
    aggregation: Literal["samples", "macro", "micro", "groups"]
    headline: bool
    metric: str
    unit: str
    value: float
    stderr: float | None
    ci_low: float
    ci_high: float
    higher_is_better: bool
    samples: int
    scored: int
    no_answer: int
    failed: int
    sample_limit: int | None
    judge: str | None
    responses_fingerprint: str
    scores_fingerprint: str
    logical_date: str | None
    evaluated_at: str
    code_version: str
    input_tokens: int
    output_tokens: int
    prefill_tokens: int | None
    prefix_reuse_fraction: float | None
    prefill_tokens_per_second: float | None
    decode_tokens_per_second: float | None
    infer_seconds: float
    peak_memory_gib: float | None
    peak_gpu_memory_gib: float | None
    cost_usd: float | None
    params: dict[str, Any] = field(default_factory=dict)
    bound_low: float | None = None
    bound_high: float | None = None
    judge_input_tokens: int | None = None
    judge_output_tokens: int | None = None
    judge_cost_usd: float | None = None
    latency_p50_seconds: float | None = None
    latency_p90_seconds: float | None = None
    latency_p99_seconds: float | None = None
    first_token_p50_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SampleResult:
    """One published row of `results/samples`: what one sample was asked, answered and scored, in one run.

    `statistics` as of a Score; `choices` is how many choices the sample has, 0 where it has none.
    """

    run_id: str
    model: str
    checkpoint: str | None
    dataset: str
    variant: str | None
    subset: str
    sample_id: str
    attempt: int
    metric: str
    value: float | None
    status: Status
    answer: str | None
    targets: tuple[str, ...]
    response: str | None
    explanation: str
    shots: int
    input_tokens: int
    output_tokens: int
    finish_reason: str
    statistics: tuple[float, ...] = ()
    choices: int = 0


@dataclass(frozen=True, slots=True)
class PublishedJudgement(Judgement):
    """One published row of `results/judgements`: what a judge said of one answer of a run, and which model judged."""

    run_id: str = ""
    model: str = ""
    checkpoint: str | None = None
    dataset: str = ""
    variant: str | None = None
    judge_model: str = ""
