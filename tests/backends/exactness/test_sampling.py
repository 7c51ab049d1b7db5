"""Sampled answers do not know their neighbours, and are drawn from the probabilities of a plain reading."""

from collections import Counter

import pytest

from llm_eval.prompts import text_prompt
from llm_eval.records import Request
from llm_eval.specs import Generation
from tests.backends.exactness import questions
from tests.backends.exactness.comparison import differences

PROMPTS = questions.prompts(seed=3)
SAMPLED = Generation(max_tokens=6, temperature=0.9, top_p=0.95, top_k=50, seed=5, attempts=2)


def texts(answers) -> dict:
    return {key: response.text for key, response in answers.items()}


@pytest.mark.parametrize("attention", ["packed", "plain"])
def test_sampled_answers_are_the_same_alone_and_among_any_neighbours(asked, attention):
    together = texts(asked("llama", PROMPTS, SAMPLED, attention=attention))
    assert len(set(together.values())) > 0.9 * len(together)
    assert texts(asked("llama", PROMPTS[::-1], SAMPLED, attention=attention, batch_tokens=30)) == together
    halves = [asked("llama", PROMPTS[i::2], SAMPLED, attention=attention) for i in range(2)]
    assert texts(halves[0] | halves[1]) == together
    for prompt in PROMPTS[:3]:
        alone = texts(asked("llama", [prompt], SAMPLED, attention=attention, batch_tokens=1))
        assert alone == {key: text for key, text in together.items() if key[0] == prompt.id}


def test_requests_with_the_same_prompt_draw_for_themselves_and_the_seed_decides(asked):
    twins = [Request(f"twin-{i}", f"twin-{i}", "generate", text="the river") for i in range(6)]
    found = texts(asked("llama", twins, SAMPLED))
    assert len(set(found.values())) == len(found)
    assert texts(asked("llama", twins[::-1], SAMPLED)) == found
    assert texts(asked("llama", twins, SAMPLED.model_copy(update={"seed": 6}))) != found


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-6}])
def test_sampling_that_leaves_one_token_is_greedy(asked, expected, options):
    generation = Generation(**{"max_tokens": 12, "temperature": 1.0, **options})
    found = asked("llama", PROMPTS, generation)
    assert differences(found, PROMPTS, expected("llama", PROMPTS, Generation(max_tokens=12))) == []


DRAWS = 600


@pytest.mark.parametrize(
    "options",
    [{"temperature": 1.0}, {"temperature": 0.4}, {"temperature": 1.0, "top_k": 7}, {"temperature": 1.0, "top_p": 0.3}],
)
def test_draws_are_as_frequent_as_their_tokens_are_probable(asked, reference, options):
    """Pearson's test at one in a thousand, over the ten likeliest first tokens and the rest."""
    prompt, generation = PROMPTS[4], Generation(max_tokens=1, attempts=DRAWS, **options)
    found = Counter(answer.text for answer in asked("llama", [prompt], generation).values())

    probable = Counter(first_tokens(reference("llama"), prompt, **options))
    assert not found.keys() - probable.keys()
    (*_, (_, least)) = likeliest = probable.most_common(10)
    assert least * DRAWS >= 5, "too rare to be counted"
    rest = (DRAWS - sum(found[text] for text, _ in likeliest), 1.0 - sum(share for _, share in likeliest))
    counts = [*((found[text], share) for text, share in likeliest), *([rest] if rest[1] > 0.01 else [])]
    distance = sum((seen - DRAWS * share) ** 2 / (DRAWS * share) for seen, share in counts)
    assert distance < CRITICAL[len(counts) - 1]


# Chi-squared, 0.999, by degrees of freedom.
CRITICAL = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32, 8: 26.12, 9: 27.88, 10: 29.59}


def first_tokens(reference, prompt, temperature: float, top_k: int | None = None, top_p: float = 1.0) -> dict:
    """Probability of each text that the first token may be."""
    ids = reference.words.encode(text_prompt(prompt, len(prompt.shots)))
    ranked = (reference.log_probabilities(tuple(ids))[-1] / temperature).softmax(-1).sort(descending=True)
    shares = ranked.values[:top_k] / ranked.values[:top_k].sum()
    kept = int((shares.cumsum(0) - shares < top_p).sum())
    shares, found = shares[:kept] / shares[:kept].sum(), Counter()
    for token, share in zip(ranked.indices[:kept].tolist(), shares.tolist(), strict=True):
        is_end = token == reference.words.tokenizer.eos_token_id
        found["" if is_end else reference.words.text_after(ids, [token])] += share
    return found
