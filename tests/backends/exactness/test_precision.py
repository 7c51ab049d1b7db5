"""Half precision: no NaN, and near the answers of float32; the same questions cannot be held to the same digits."""

import math
import statistics

import pytest

from llm_eval.specs import Generation
from tests.backends.exactness import questions
from tests.backends.exactness.comparison import best, lead

CHOICES = questions.choices(seed=1)[::2]
TEXTS = questions.texts(seed=2)
PROMPTS = questions.prompts(seed=3)
GENERATION = Generation(max_tokens=6)
# Nats a token: on average, and at most. bfloat16 keeps 8 bits of a number, float16 11; a mixture of experts may choose
# another expert.
TOLERANCE = {"bfloat16": (0.1, 3.0), "float16": (0.01, 0.3)}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["llama-bos", "gpt2", "mixtral"])
def test_half_precision_is_near_float32_and_never_nan(asked, expected, name, dtype):
    requests = [*CHOICES, *TEXTS, *PROMPTS]
    should = expected(name, requests, GENERATION)
    found = asked(name, requests, GENERATION, dtype=dtype, batch_tokens=128)

    assert {answer.error for answer in found.values()} == {None}
    off = [
        abs(one.logprob - other.logprob) / one.tokens
        for request in (*CHOICES, *TEXTS)
        for one, other in zip(found[request.id, 0].likelihoods, should[request.id].likelihoods, strict=True)
    ]
    assert all(map(math.isfinite, off))
    mean, largest = TOLERANCE[dtype]
    assert statistics.mean(off) <= mean
    assert max(off) <= largest
    clear = [r for r in CHOICES if lead(should[r.id]) > 1.0]
    assert len(clear) >= 10
    assert all(best(found[r.id, 0]) == best(should[r.id]) for r in clear)
    assert sum(found[r.id, 0].text[:1] == should[r.id].text[:1] for r in PROMPTS) >= 0.6 * len(PROMPTS)
