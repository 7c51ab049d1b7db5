"""Requests of every shape that a benchmark has, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable

from llm_eval.records import Message, Request, Shot
from tests.backends.exactness.vocabularies import WORDS
from tests.backends.tiny_models import SENTENCES

LETTERS = (" A", " B", " C", " D")


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


def _ask(rng: random.Random, number: int) -> str:
    return f"\n\nQuestion {number}: {words(rng, rng.randint(2, 7))}?\nAnswer:"


def _examples(rng: random.Random, count: int, *answers: str) -> tuple[Shot, ...]:
    return tuple(Shot(_ask(rng, i), rng.choice(answers)) for i in range(count))


def letters(rng: random.Random) -> list[Request]:
    """Three subjects, each with its header and its examples: four choices of one token."""
    found = []
    for subject in range(3):
        header, shots = f"About {words(rng, 3)}.", _examples(rng, 2, *LETTERS)
        found += [_choices(f"letters-{subject}-{i}", _ask(rng, i), LETTERS, header, shots) for i in range(6)]
    return found


def clozes(rng: random.Random) -> list[Request]:
    """Examples that all questions share, and continuations of several tokens, no two of the same length."""
    shots = _examples(rng, 2, " the whale", " a garden")
    found = []
    for i in range(12):
        endings = tuple(f" {words(rng, n)}" for n in rng.sample(range(1, 6), 3))
        found.append(_choices(f"cloze-{i}", _ask(rng, i), endings, "", shots))
    return found


def overlapping(rng: random.Random) -> list[Request]:
    """Continuations that begin each other, begin alike, are the same, or differ in the blank before them alone."""
    found = []
    for i in range(10):
        stem = f" {words(rng, 2)}"
        endings = (stem, f"{stem} {words(rng, 2)}", f"{stem} {words(rng, 1)}", stem, stem.lstrip(), f"{stem}\n", " A")
        found.append(_choices(f"overlap-{i}", _ask(rng, i), endings))
    return found


def trees(rng: random.Random) -> list[Request]:
    """A header for all, a block for each subject, a passage for every two questions, choices that begin alike."""
    header, found = f"The following are questions about {words(rng, 6)}.", []
    for subject in range(2):
        shots = _examples(rng, 2, " never", " before winter")
        for passage in range(3):
            text = f"\n\nPassage: {words(rng, 12)}."
            for i in range(2):
                stem = f" {words(rng, 2)}"
                endings = tuple(f"{stem} {words(rng, n)}" for n in (1, 2, 3))
                found.append(_choices(f"tree-{subject}-{passage}-{i}", text + _ask(rng, i), endings, header, shots))
    return found


def lone(rng: random.Random) -> list[Request]:
    """Questions that share nothing: none, a letter, other scripts, blanks, and some that nearly fill the context."""
    texts = ["", " ", "A", "7", "\n", *SENTENCES, "Answer: ", "  two  blanks  ", "café 東京 😀\n\n"]
    texts += [words(rng, n) for n in (1, 3, 9, 27, 60)]
    return [_choices(f"lone-{i}", text, (*LETTERS, " the whale", "鲸鱼")) for i, text in enumerate(texts)]


def choices(seed: int) -> tuple[Request, ...]:
    """All of the above."""
    rng = random.Random(seed)
    return tuple(request for kind in (letters, clozes, overlapping, trees, lone) for request in kind(rng))


def texts(seed: int) -> list[Request]:
    """Perplexity: texts that begin alike within a request and between requests, after examples, and lone ones."""
    rng = random.Random(seed)
    stem, shots = f"Goal: {words(rng, 8)}.", _examples(rng, 1, " yes", " no")
    found = [
        _request(f"text-{i}", "perplexity", f"{stem} {words(rng, 4)}", tuple(f" {words(rng, n)}" for n in (1, 4, 9)))
        for i in range(4)
    ]
    found += [
        _request(f"shot-text-{i}", "perplexity", _ask(rng, i), (" yes", " no", " yes and no"), shots=shots)
        for i in range(3)
    ]
    found += [_request(f"lone-text-{i}", "perplexity", "", (text * (1 + i % 2),)) for i, text in enumerate(SENTENCES)]
    return found


def prompts(seed: int, count: int = 16) -> list[Request]:
    """To be continued: a third share examples, a third a beginning, the others nothing; some are very short."""
    rng = random.Random(seed)
    shots, stem = _examples(rng, 3, " the whale.", " a garden."), f"{words(rng, 14)}."
    forms: tuple[Callable[[int], Request], ...] = (
        lambda i: _request(f"prompt-{i}", "generate", _ask(rng, i), shots=shots),
        lambda i: _request(f"prompt-{i}", "generate", f"{stem} {words(rng, 1 + i)}"),
        lambda i: _request(f"prompt-{i}", "generate", words(rng, rng.choice((1, 2, 5, 40)))),
    )
    found = [forms[i % 3](i) for i in range(count)]
    return [*found, _request("prompt-empty", "generate", ""), _request("prompt-letter", "generate", "A")]


def conversations(seed: int) -> list[Request]:
    """For chat models: a system turn and examples that all share, to be continued and to be scored."""
    rng = random.Random(seed)
    shots, system = _examples(rng, 2, *LETTERS), Message("system", words(rng, 6))
    found = []
    for i in range(6):
        turns = (system, Message("user", _ask(rng, i)))
        found.append(Request(f"talk-{i}", f"talk-{i}", "generate", shots=shots, messages=turns))
        found.append(
            Request(
                f"vote-{i}", f"vote-{i}", "choices", shots=shots, messages=turns, continuations=(*LETTERS, " never")
            )
        )
    return found


def _choices(id: str, text: str, endings: tuple[str, ...], header: str = "", shots: tuple[Shot, ...] = ()) -> Request:
    return _request(id, "choices", text, endings, header=header, shots=shots)


def _request(id: str, kind: str, text: str, endings: tuple[str, ...] = (), **fields: object) -> Request:
    return Request(id, id, kind, text=text, continuations=endings, **fields)
