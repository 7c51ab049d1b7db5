"""What log-likelihoods say: which choice the model finds likeliest, and how well it predicts a text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llm_eval.errors import InvalidData
from llm_eval.metrics import Measure, UnusableResponse, metric
from llm_eval.metrics.text import references
from llm_eval.records import Likelihood, RequestKind, Response, Sample

_CHOICE_KINDS: frozenset[RequestKind] = frozenset({"choices", "perplexity"})
_TEXT_KINDS: frozenset[RequestKind] = frozenset({"perplexity"})


@metric("choice_accuracy", kinds=_CHOICE_KINDS, interval="wilson", no_answer=None)
def choice_accuracy(response: Response, sample: Sample) -> Measure:
    """1 if the right choice has the greatest log-likelihood; the first wins ties.

    Raises UnusableResponse for a log-likelihood that is not finite: then our call failed, not the model.
    """
    return _choose([one.logprob for one in _usable(response, sample)], sample)


@metric("choice_accuracy_per_token", kinds=_CHOICE_KINDS, interval="wilson", no_answer=None)
def choice_accuracy_per_token(response: Response, sample: Sample) -> Measure:
    """As choice_accuracy, of log-likelihood / tokens. With kind perplexity this is OpenCompass's "ppl"."""
    return _choose([one.logprob / _count(one.tokens, "tokens", sample) for one in _usable(response, sample)], sample)


@metric("choice_accuracy_per_byte", kinds=_CHOICE_KINDS, interval="wilson", no_answer=None)
def choice_accuracy_per_byte(response: Response, sample: Sample) -> Measure:
    """As choice_accuracy, of log-likelihood / UTF-8 bytes, which no tokenizer can sway."""
    return _choose([one.logprob / _count(one.bytes, "bytes", sample) for one in _usable(response, sample)], sample)


def _choose(values: Sequence[float], sample: Sample) -> Measure:
    if len(values) != len(sample.choices):
        raise UnusableResponse(f"{len(values)} log-likelihoods for the {len(sample.choices)} choices of {sample.id!r}")
    answer = sample.labels[values.index(max(values))]
    return Measure(float(answer == _right_label(sample)), answer=answer)


def corpus_perplexity(statistics: Sequence[float]) -> float:
    """exp of the mean negative log-likelihood per token, from summed log-likelihoods and tokens."""
    logprob, tokens = statistics
    return math.exp(-logprob / tokens)


@metric(
    "perplexity",
    kinds=_TEXT_KINDS,
    interval="bootstrap",
    unit="perplexity",
    higher_is_better=False,
    corpus=corpus_perplexity,
    no_answer=None,
)
def perplexity(response: Response, sample: Sample) -> Measure:
    """exp(-sum of log-likelihoods / tokens) of the text; of a corpus over its pooled tokens.

    Of several texts (choices), of the right one.
    """
    one = _text(response, sample)
    statistics = (one.logprob, float(_count(one.tokens, "tokens", sample)))
    try:
        return Measure(corpus_perplexity(statistics), statistics)
    except OverflowError as error:
        raise UnusableResponse(f"sample {sample.id!r}: a perplexity out of range, from {statistics}") from error


def corpus_bits_per_byte(statistics: Sequence[float]) -> float:
    """Bits per UTF-8 byte, from summed log-likelihoods (nats) and bytes."""
    logprob, bytes_ = statistics
    return -logprob / (bytes_ * math.log(2))


@metric(
    "bits_per_byte",
    kinds=_TEXT_KINDS,
    interval="bootstrap",
    unit="bits_per_byte",
    higher_is_better=False,
    corpus=corpus_bits_per_byte,
    no_answer=None,
)
def bits_per_byte(response: Response, sample: Sample) -> Measure:
    """-log2-likelihood of the text / its UTF-8 bytes; of a corpus over its pooled bytes. Compares across tokenizers."""
    one = _text(response, sample)
    statistics = (one.logprob, float(_count(one.bytes, "bytes", sample)))
    return Measure(corpus_bits_per_byte(statistics), statistics)


def _text(response: Response, sample: Sample) -> Likelihood:
    """The likelihood of the only text, or of the right choice's."""
    likelihoods = _usable(response, sample)
    if len(likelihoods) == 1:
        return likelihoods[0]
    if len(likelihoods) != len(sample.choices):
        raise UnusableResponse(f"{len(likelihoods)} log-likelihoods for one text, sample {sample.id!r}")
    return likelihoods[sample.labels.index(_right_label(sample))]


def _right_label(sample: Sample) -> str:
    (target, *more) = references(sample, "over choices")
    if more or target not in sample.labels:
        raise InvalidData(
            f"sample {sample.id!r}: targets are {', '.join(map(repr, sample.targets))}; where choices are weighed it "
            f"takes exactly one of the labels {', '.join(sample.labels) or '(there are no choices)'}. "
            "See `fields.targets`."
        )
    return target


def _usable(response: Response, sample: Sample) -> tuple[Likelihood, ...]:
    """The response's likelihoods. Raises UnusableResponse if there is none, or one that is not finite."""
    if not response.likelihoods:
        raise UnusableResponse(f"no log-likelihoods came back for sample {sample.id!r}")
    for position, one in enumerate(response.likelihoods):
        if not math.isfinite(one.logprob):
            raise UnusableResponse(f"log-likelihood {position} of sample {sample.id!r} is {one.logprob}")
    return response.likelihoods


def _count(number: int, unit: str, sample: Sample) -> int:
    if number <= 0:
        raise UnusableResponse(
            f"a log-likelihood of sample {sample.id!r} is over {number} {unit}: nothing to divide by"
        )
    return number
