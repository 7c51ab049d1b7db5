"""Text metrics against their reference packages and published values (tests/golden/text_metrics.yaml)."""

from __future__ import annotations

from pathlib import Path

import pytest
import sacrebleu
import yaml
from rouge_score.rouge_scorer import RougeScorer

from llm_eval.errors import InvalidData, InvalidSpec
from llm_eval.metrics import get_metric
from llm_eval.metrics.text import bleu, corpus_bleu, rouge1, rouge2, rougeL, token_f1, words
from tests.builders import sample

PUBLISHED = yaml.safe_load((Path(__file__).parents[1] / "golden" / "text_metrics.yaml").read_text(encoding="utf-8"))
ENGLISH = [
    ("The cat is on the mat.", "There is a cat on the mat."),
    ("A quick brown fox jumped over it, twice.", "The quick brown fox jumps over it twice."),
    ("", "Nothing was said."),
    ("Completely different words here", "No overlap at all, none"),
]
CHINESE = [
    ("今天天气很好，我们去公园。", "今天天气不错，我们去了公园。"),
    ("他在2008年去了北京。", "他2008年去北京。"),
    ("不知道", "巴黎是法国的首都。"),
]


def pooled(pairs, **options):
    rows = [bleu(answer, sample(targets=(target,)), **options).statistics for answer, target in pairs]
    return corpus_bleu([sum(column) for column in zip(*rows, strict=True)])


@pytest.mark.parametrize(
    ("pairs", "tokenize"), [(ENGLISH, "13a"), (ENGLISH, "intl"), (CHINESE, "zh"), (CHINESE, "char")]
)
def test_bleu_of_pooled_counts_is_sacrebleu_s_corpus_bleu(pairs, tokenize):
    answers, targets = zip(*pairs, strict=True)
    theirs = sacrebleu.corpus_bleu(answers, [targets], tokenize=tokenize).score / 100

    assert theirs > 0.05
    assert pooled(pairs, tokenize=tokenize) == pytest.approx(theirs, abs=1e-12)


def test_bleu_with_several_references_as_published():
    case = PUBLISHED["bleu"]
    rows = [bleu(a, sample(targets=tuple(t))).statistics for a, t in zip(case["answers"], case["targets"], strict=True)]

    assert corpus_bleu([sum(c) for c in zip(*rows, strict=True)]) == pytest.approx(case["value"], abs=1e-9)


@pytest.mark.parametrize(("answer", "target"), ENGLISH)
def test_bleu_s_own_value_is_sacrebleu_s_sentence_bleu(answer, target):
    theirs = sacrebleu.sentence_bleu(answer, [target]).score / 100

    assert bleu(answer, sample(targets=(target,))).value == pytest.approx(theirs, abs=1e-12)


def test_bleu_counts_the_reference_of_a_missing_answer():
    missing = get_metric("bleu").no_answer(sample(targets=("巴黎是首都",)), tokenize="zh")

    assert (missing.value, missing.statistics) == (0.0, (0.0,) * 9 + (5.0,))


def test_rouge_as_published():
    case = PUBLISHED["rouge"]
    asked = sample(targets=(case["target"],))

    assert rouge1(case["answer"], asked, stem=True).value == pytest.approx(case["rouge1"])
    assert rougeL(case["answer"], asked, stem=True).value == pytest.approx(case["rougeL"])


@pytest.mark.parametrize(("kind", "function"), [("rouge1", rouge1), ("rouge2", rouge2), ("rougeL", rougeL)])
@pytest.mark.parametrize(("answer", "target"), ENGLISH)
def test_rouge_is_rouge_score_s(kind, function, answer, target):
    theirs = RougeScorer([kind]).score(target, answer)[kind].fmeasure

    assert function(answer, sample(targets=(target,))).value == theirs


def test_rouge_of_chinese_is_over_characters():
    asked = sample(targets=("首都巴黎", "别的"))

    assert rouge1("巴黎是首都", asked, language="zh").value == pytest.approx(8 / 9)
    assert rouge2("巴黎是首都", asked, language="zh").value == pytest.approx(2 * 2 / (4 + 3))
    assert rougeL("巴黎是首都", asked, language="zh").value == pytest.approx(2 * 2 / (5 + 4))
    assert rouge1("巴黎是首都", asked).value == 0  # why the option exists


@pytest.mark.parametrize("case", PUBLISHED["token_f1"]["cases"], ids=str)
def test_token_f1_as_squad_defines_it(case):
    options = {"language": case["language"]} if "language" in case else {}

    assert token_f1(case["answer"], sample(targets=tuple(case["targets"])), **options).value == pytest.approx(
        case["value"]
    )


@pytest.mark.parametrize("name", ["token_f1", "bleu", "rouge1", "rouge2", "rougeL"])
def test_no_answer_is_worth_what_an_empty_text_is(name):
    asked, metric = sample(targets=("Paris",)), get_metric(name)

    assert metric.no_answer(asked) == metric.function("", asked)
    assert metric.no_answer(asked).value == 0


def test_words_of_mixed_text():
    assert words("GPT-4在2008年, don't!") == ["gpt", "4", "在", "2008", "年", "don", "t"]


@pytest.mark.parametrize("name", ["token_f1", "bleu", "rouge1", "exact_match", "numeric_match", "contains", "accuracy"])
def test_a_sample_without_a_target_is_our_mistake(name):
    with pytest.raises(InvalidData, match=r"'s-9' has no target.*fields\.targets"):
        get_metric(name).function("x", sample("s-9", targets=()))


def test_an_unknown_tokenizer_is_refused_before_the_run():
    with pytest.raises(InvalidSpec, match=r"x\.yaml: metric 'bleu', option 'tokenize' is 'chinese'.*'zh'"):
        get_metric("bleu").check_options({"tokenize": "chinese"}, "x.yaml")
