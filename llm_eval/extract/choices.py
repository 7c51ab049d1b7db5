"""The choice that a reply declares, in English or Chinese, with letters named on the way told from the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llm_eval.extract import NO_ANSWER, Extraction, extractor, labels_of
from llm_eval.extract.declarations import (
    ANY_LETTER,
    CLOSING,
    CUE,
    DENIED,
    FILLER,
    LABELLED,
    LEADING,
    NAMED,
    NOT_MEANT,
    ONLY_LETTER,
    PRAISED,
    RUN,
    SMALL_LETTER,
)
from llm_eval.extract.letters import letters, mark, plain
from llm_eval.records import Sample

_NEARBY_CHARACTERS = 40
_MOST_CUES = 200  # the last ones; only a model in a loop writes more


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply without markup, once as it reads and once with its letters marked; both have their own positions."""

    plain: str
    marked: str
    labels: str
    folded: tuple[str, ...]  # the choices' own texts
    bare: tuple[str, ...]


@extractor("declared_choice", version=1)
def declared_choice(text: str, sample: Sample) -> Extraction:
    """The label of the choice that the reply declares; of several declarations the last.

    In this order: the reply is nothing but a label or a choice's text; it declares one ("The answer is (B)",
    "ANSWER: B", "答案：B", "故选B", "\\boxed{B}", a last sentence that is just "B"); it begins with a label, or one
    line does ("B. Paris") and no other line with another; one choice is called correct; one label stands anywhere.
    Different labels in the last declaration, or at a later step, are ambiguous. Markdown and LaTeX do not matter.
    A declared letter that is none of the labels is no answer, and other letters are not taken for one.
    """
    labels, choices = labels_of(sample, "declared_choice"), [plain(c).strip() for c in sample.choices]
    shown = plain(text)
    reply = _Reply(
        shown, mark(shown, labels, choices), labels, tuple(map(_folded, choices)), tuple(map(_bare, choices))
    )
    for step in (_whole, _declared, _leading, _praised, _alone):
        found = step(reply)
        if len(found) > 1:
            return Extraction("ambiguous", explanation=f"{', '.join(found)} are all named")
        if found and found[0] not in labels:
            return Extraction("no_answer", explanation=f"{found[0]} is declared, and there is no such choice")
        if found:
            return Extraction.of(found[0])
    return NO_ANSWER


def _whole(reply: _Reply) -> tuple[str, ...]:
    only = ONLY_LETTER.fullmatch(reply.plain)
    return (only[1].upper(),) if only and only[1].upper() in reply.labels else _with_text(reply, reply.plain)


def _with_text(reply: _Reply, text: str) -> tuple[str, ...]:
    """Labels of the choices whose own text is `text`, case and blanks aside; failing that, outer punctuation aside."""
    for wanted, choices in ((_folded(text), reply.folded), (_bare(text), reply.bare)):
        if wanted and wanted in choices:
            return tuple(label for label, choice in zip(reply.labels, choices, strict=True) if choice == wanted)
    return ()


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _bare(text: str) -> str:
    return _folded(text).strip(" .,;:!?\"'“”‘’。、{}()[]<>")


def _declared(reply: _Reply) -> tuple[str, ...]:
    cues = [m.end() for m in CUE.finditer(reply.marked) if not _not_meant(reply.marked, m.start())]
    cues = cues[-_MOST_CUES:]
    read = [(end, found) for end in cues if (found := _after(reply, end))]
    read += [(m.end(), letters(m[0])) for m in CLOSING.finditer(reply.marked)]
    known = [(end, found) for end, found in read if set(found) <= set(reply.labels)]
    return max(known or read, default=(0, ()))[1]


def _not_meant(text: str, position: int) -> bool:
    return NOT_MEANT.search(text, max(0, position - _NEARBY_CHARACTERS), position) is not None


def _after(reply: _Reply, end: int) -> tuple[str, ...]:
    """What a declaration whose cue ends at `end` names: labels, a choice's text, or a letter that is no label."""
    filler = FILLER.match(reply.marked, end)
    start = filler.end() if filler else end
    reach = max(map(len, reply.folded)) + _NEARBY_CHARACTERS
    for begin in (end, start):
        rest = reply.marked[begin : begin + reach].lstrip()
        line = rest.split("\n", 1)[0]
        for phrase in (rest, line, re.split(r"[。;]|[.,](?=\s|\Z)|</", line, maxsplit=1)[0]):
            if by_text := _with_text(reply, phrase):
                return by_text
    if (one := LABELLED.match(reply.marked, start)) and _has_own_text(reply, one):
        return letters(one[1])
    if named := NAMED.match(reply.marked, start):
        return letters(named[0])
    if (small := SMALL_LETTER.match(reply.marked, start)) and small[1].upper() in reply.labels:
        return (small[1].upper(),)
    if (
        (run := RUN.match(reply.marked, start))
        and sorted(set(run[0])) == list(run[0])
        and set(run[0]) <= set(reply.labels)
    ):
        return tuple(run[0])
    other = ANY_LETTER.match(reply.marked, start)
    return (other[1],) if other else ()


def _has_own_text(reply: _Reply, label: re.Match[str]) -> bool:
    choice = reply.folded[reply.labels.index(letters(label[1])[0])]
    return len(choice) > 1 and _folded(reply.marked[label.end() : label.end() + len(choice) + 9]).startswith(choice)


def _leading(reply: _Reply) -> tuple[str, ...]:
    lines = list(LEADING.finditer(reply.marked))
    found = letters("".join(m[0] for m in lines))
    if len(found) > 1 or (found == ("A",) and all(_is_heading(reply, m) for m in lines)):
        return ()  # a list of the choices says nothing by itself
    begins = NAMED.match(reply.marked)
    return found or (letters(begins[0]) if begins else ())


def _is_heading(reply: _Reply, line: re.Match[str]) -> bool:
    """Whether "A:" may be short for "Answer:", as where prompts ask with "Q:"; not if the choice's own text follows."""
    rest = reply.marked[line.end() :].split("\n", 1)[0]
    return line["colon"] is not None and _with_text(reply, rest) != ("A",)


def _praised(reply: _Reply) -> tuple[str, ...]:
    return letters("".join(m[0] for m in PRAISED.finditer(reply.marked)))


def _alone(reply: _Reply) -> tuple[str, ...]:
    found = letters(reply.marked)
    return found if len(found) > 1 else letters(DENIED.sub("", reply.marked))
