"""How much of a reference text an answer holds: words, n-grams, longest common subsequences."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from llm_eval.errors import InvalidData
from llm_eval.metrics import Measure, metric
from llm_eval.records import Sample

Language = Literal["en", "zh"]
BleuTokenizer = Literal["13a", "intl", "zh", "char", "none"]
NGRAM_ORDERS = 4

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def words(text: str) -> list[str]:
    """Words in lower case without punctuation; of Chinese, Japanese and Korean each character is a word."""
    return _WORD.findall(text.lower())


def squad_words(text: str) -> list[str]:
    """Words in lower case without ASCII punctuation and English articles. Source: SQuAD's evaluate-v2.0.py."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def references(sample: Sample, name: str) -> tuple[str, ...]:
    """The sample's targets. Raises InvalidData if there is none to compare with: that is never the model's fault."""
    if not sample.targets:
        raise InvalidData(
            f"sample {sample.id!r} has no target, and metric {name!r} compares with targets. Does `fields.targets` "
            "name the right column? Some splits are published without answers."
        )
    return sample.targets


# A missing answer is an empty text, whose reference still counts: BLEU's value is not a mean.
@metric("token_f1", no_answer=lambda sample, **options: token_f1("", sample, **options))
def token_f1(answer: str, sample: Sample, *, language: Language = "en") -> Measure:
    """F1 of the words that answer and target share, counted with repetition; the best of several targets.

    An empty target is matched by an empty answer only. language zh: each Chinese character is a word, and each run of
    Latin letters or digits. Source: SQuAD's evaluate-v2.0.py, `compute_f1`; zh as in CMRC 2018's mixed segmentation.
    """
    split = words if language == "zh" else squad_words
    return Measure(max(_f1(split(answer), split(target)) for target in references(sample, "token_f1")))


def _f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    shared = (Counter(found) & Counter(wanted)).total()
    return 2 * shared / (len(found) + len(wanted))


def corpus_bleu(statistics: Sequence[float]) -> float:
    """BLEU from summed counts: matches by n-gram order, n-grams by order, answer length, reference length."""
    return _bleu_score(statistics, effective_order=False)


def _bleu_score(statistics: Sequence[float], effective_order: bool) -> float:
    from sacrebleu.metrics import BLEU

    *counts, answer_words, reference_words = (round(s) for s in statistics)
    score = BLEU.compute_bleu(
        counts[:NGRAM_ORDERS],
        counts[NGRAM_ORDERS:],
        answer_words,
        reference_words,
        smooth_method="exp",
        effective_order=effective_order,
    )
    return float(score.score) / 100


@metric(
    "bleu", interval="bootstrap", corpus=corpus_bleu, no_answer=lambda sample, **options: bleu("", sample, **options)
)
def bleu(answer: str, sample: Sample, *, tokenize: BleuTokenizer = "13a") -> Measure:
    """BLEU, 0 to 1: of the corpus by its pooled counts; `value` is the sentence's own, with effective order.

    Several targets are several references. Chinese needs `tokenize: zh`.
    Source: sacrebleu, its defaults (exponential smoothing); a corpus's value is its `corpus_bleu` / 100.
    """
    targets = references(sample, "bleu")
    counts = _bleu_counter(tokenize).corpus_score([answer], [[t] for t in targets])
    statistics = (*counts.counts, *counts.totals, counts.sys_len, counts.ref_len)
    return Measure(_bleu_score(statistics, effective_order=True), tuple(map(float, statistics)))


@cache
def _bleu_counter(tokenize: str) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenize)


class _Words:
    """`words` as rouge_score wants its tokenizers."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@cache
def _rouge_scorer(kind: str, language: Language, stem: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=stem, tokenizer=_Words() if language == "zh" else None)


def _rouge(kind: str, answer: str, sample: Sample, language: Language, stem: bool) -> Measure:
    scorer = _rouge_scorer(kind, language, stem)
    return Measure(float(scorer.score_multi(references(sample, kind.lower()), answer)[kind].fmeasure))


@metric("rouge1", no_answer=lambda sample, **options: rouge1("", sample, **options))
def rouge1(answer: str, sample: Sample, *, language: Language = "en", stem: bool = False) -> Measure:
    """F-measure of single words; the best of several targets. zh: each Chinese character is a word.

    `stem`: English words by their stems. Source: the package rouge-score, Lin 2004.
    """
    return _rouge("rouge1", answer, sample, language, stem)


@metric("rouge2", no_answer=lambda sample, **options: rouge2("", sample, **options))
def rouge2(answer: str, sample: Sample, *, language: Language = "en", stem: bool = False) -> Measure:
    """F-measure of pairs of words, else as rouge1."""
    return _rouge("rouge2", answer, sample, language, stem)


@metric("rougeL", no_answer=lambda sample, **options: rougeL("", sample, **options))
def rougeL(answer: str, sample: Sample, *, language: Language = "en", stem: bool = False) -> Measure:  # noqa: N802
    """F-measure of the longest common subsequence of words, else as rouge1."""
    return _rouge("rougeL", answer, sample, language, stem)
