"""OpenCompass's own ways of finding a choice, for numbers that compare with its published ones.

Its meaning is kept, its defects are mended where they are known; each extractor names which. For new data sets prefer
`declared_choice`, which takes the last declaration instead of the first match and can say "ambiguous".
"""

from __future__ import annotations

import re
from functools import cache

from rapidfuzz.distance import Levenshtein

from llm_eval.extract import NO_ANSWER, Extraction, extractor, labels_of
from llm_eval.extract.characters import half_width
from llm_eval.records import Sample

# Tried in this order over the whole reply; X stands for a captured label. Full-width punctuation is ASCII by then.
_DECLARATIONS = (
    # the answer is X
    r"答案(?:选项)?(?:应该|应)?(?:是|为|选)?\s*:?\s*\(?X",
    r"选(?:择|项为?:?)?\s*X",
    r"故选?\s*X",
    r"只有选?项?\s*X\s*(?:是?[对错]|不?正确|错误)",
    r"说法(?:不?对|不?正确|错误)选?项?的?是\s*X",
    r"X\s*是正确(?:的|答案)",
    r"选项\s*X\s*正确",
    r"所以答?\s*X[.。]?\Z",
    # a sentence or the whole reply ends in X
    r"[\s:,][故即]?X[。,.]?\Z",
    r"[\s:,]因此X[。.]?\Z",
    r"[是为。]\s*X[。.]?\Z",
    r"(?:因此|显然)\s*X[。.]?\Z",
    # the answer is a phrase that holds X
    r"答案(?:应该是|是|为)\s*[^A-Z\s]*X",
    # English
    r"(?i:ANSWER\s*:)\s*X",
    r"[Tt]he answer is:?\s+(?:option:?\s+)?\(?X",
    r"[Tt]he correct (?:answer|option|answer option) is:?\s+(?:option:?\s+)?\(?X",
    r"[Tt]he correct (?:answer|option|answer option) is:?[^\n]*?\\?boxed\{X\}",
    r"[Tt]he answer to the question is:?\s+\(?X",
    # X where the reply begins, or alone between blanks
    r"\A选项\s*X",
    r"\AX\s*选?项",
    r"(?:\s|\A)X(?=[\s。,:.]|\Z)",
    r"(?:\s|\A)1\.\s*X",
)
_CUSHION = (r"X:", r"X")


@extractor("first_option", version=1)
def first_option(text: str, sample: Sample, *, cushion: bool = True) -> Extraction:
    """The label that the first of some ordered patterns finds; with `cushion`, failing that, any label's letter.

    Source: OpenCompass's `first_option_postprocess` (mmlu_gen_4d595a, winogrande, race, hellaswag, …). Mended here:
    - "故选" and "只有选项X是对" are two patterns; a missing comma made them one that nothing matched;
    - "1." means a full stop, and the label must follow at once: any 1 followed by text used to decide;
    - the label is the one at the matched place, where the first of A, B, C, D within the match used to win;
    - the article "A" ("A dog") is no label;
    - bold markers, full-width letters and full-width colons do not hide a label.
    Kept: the cushion takes a label's letter out of any word ("Berlin" gives B); `cushion: false` does without.
    """
    plain = half_width(text).replace("*", "").strip()
    for pattern in _compiled(labels_of(sample, "first_option"), cushion):
        if match := pattern.search(plain):
            return Extraction.of(match["label"])
    return NO_ANSWER


@cache
def _compiled(labels: str, cushion: bool) -> tuple[re.Pattern[str], ...]:
    # The article: an "A" before a word of lower case that is none of those that go on after an answer.
    article = r"(?!\s+(?!(?:is|as|and|because|since|for)\b)[a-z])"
    label = rf"(?P<label>[{labels[1:]}]|A{article})" if len(labels) > 1 else rf"(?P<label>A{article})"
    sources = _DECLARATIONS + (_CUSHION if cushion else ())
    return tuple(re.compile(s.replace("X", label), re.DOTALL) for s in sources)


@extractor("first_capital", version=1)
def first_capital(text: str, sample: Sample) -> Extraction:
    """The first upper-case character anywhere, also one that is no label: "The answer is C" gives T, which is wrong.

    Source: OpenCompass's `first_capital_postprocess` (ceval_gen_5f30c7, cmmlu_gen_c13365), kept as it is.
    """
    return Extraction.of(next((c for c in text if c.isupper()), None))


@extractor("closest_choice", version=1)
def closest_choice(text: str, sample: Sample) -> Extraction:
    """The choice with the least edit distance (Levenshtein) between the reply and one of "A. text", "A", "text".

    The first wins ties. Always answers, unless the reply is blank: OpenCompass gives a blank reply to the first choice.
    Source: OpenCompass's EDAccEvaluator (siqa_gen_e78df3).
    """
    if not text.strip():
        return NO_ANSWER
    distances = [
        min(Levenshtein.distance(text, form) for form in (f"{label}. {choice}", label, choice))
        for label, choice in zip(labels_of(sample, "closest_choice"), sample.choices, strict=True)
    ]
    return Extraction.of(sample.labels[distances.index(min(distances))])
