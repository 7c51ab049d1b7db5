"""Tokenising texts that begin alike without doing the beginning again, token for token the same.

A tokenizer of the byte-level kind cuts a text into words first, by a pattern that looks ahead but never back, and no
word holds a letter or a digit and the line break after it. What stands after such a line break is tokenised the same
with and without what stands before it.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from typing import Any, NamedTuple

_PROBES = ("ab\ncd", "ab\n\n\ncd", "ab\n  cd", "a1\n1", "Ab\n?", "鲸鱼\n题目", "it's\n's", "x\n\t\n y", "a\r\nb\n\r\nc")


class Known(NamedTuple):
    """starts: for each token, where in the text it begins."""

    text: str
    ids: list[int]
    starts: list[int]


class Anchors:
    """One tokenizer's last texts. `works`: whether the tokenizer is of the kind for which this is exact."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._last: dict[bool, Known] = {}
        self.works = _cuts_before_line_breaks(tokenizer)

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Tokens of `text`; `special`: with those that the tokenizer puts around a text."""
        known = self._last.get(special)
        at = 0 if known is None else _anchor(known.text, text)
        if known is None or at == 0:
            ids, starts = self._tokens(text, special=special)
        else:
            # Tokens put before the text begin at 0 too: the anchor is beyond them, and none is put after a text here.
            keep = bisect_left(known.starts, at)
            rest, places = self._tokens(text[at:], special=False)
            ids, starts = known.ids[:keep] + rest, known.starts[:keep] + [at + place for place in places]
        self._last[special] = Known(text, ids, starts)
        return ids

    def _tokens(self, text: str, *, special: bool) -> tuple[list[int], list[int]]:
        found = self._tokenizer(
            text,
            add_special_tokens=special,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        return list(found["input_ids"]), [start for start, _ in found["offset_mapping"]]


def _anchor(known: str, text: str) -> int:
    """The last line break after a letter or a digit in what both texts begin with; 0 if there is none."""
    low, high = 0, min(len(known), len(text))
    while low < high:  # both begin with the first `low` characters
        middle = (low + high + 1) // 2
        if known[low:middle] == text[low:middle]:
            low = middle
        else:
            high = middle - 1
    at = known.rfind("\n", 0, low)
    while at > 0 and not _ends_a_word(known[at - 1]):
        at = known.rfind("\n", 0, at)
    return max(at, 0)


def _ends_a_word(character: str) -> bool:
    """Whether it is a letter or a digit, also after it was normalised: some letters are taken apart by that."""
    return character.isalnum() and unicodedata.normalize("NFC", character) == character


def _cuts_before_line_breaks(tokenizer: Any) -> bool:
    rust = getattr(tokenizer, "backend_tokenizer", None)
    if rust is None or rust.pre_tokenizer is None:
        return False
    if rust.normalizer is not None and type(rust.normalizer).__name__ != "NFC":
        return False
    added = tokenizer.added_tokens_decoder.values()
    if any("\n" in token.content or token.lstrip or token.rstrip or token.single_word for token in added):
        return False
    end = tokenizer.eos_token_id
    if end is not None and tokenizer.encode("a")[-1:] == [end]:
        return False
    return all(_cuts(rust.pre_tokenizer, probe) for probe in _PROBES)


def _cuts(pre_tokenizer: Any, probe: str) -> bool:
    """Whether each line break after a letter or a digit begins a word, and what follows is cut the same alone."""
    words = pre_tokenizer.pre_tokenize_str(probe)
    for at in range(1, len(probe)):
        if probe[at] != "\n" or not probe[at - 1].isalnum():
            continue
        after = [word for word, (start, _) in words if start >= at]
        alone = [word for word, _ in pre_tokenizer.pre_tokenize_str(probe[at:])]
        if after != alone or not any(start == at for _, (start, _) in words):
            return False
    return True
