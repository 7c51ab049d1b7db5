"""From an answer to what a judge is asked about it, and what it is asked again when its verdict cannot be read.

A request is named by its content. So a reply that is there already, to the same prompt by the same judge, is never
asked for again: not by a later run, nor for another model's answer that happens to be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from llm_eval import templates
from llm_eval.fingerprint import fingerprint, sha256_hex
from llm_eval.judging.schemas import schema_of
from llm_eval.judging.subjects import Subject, names
from llm_eval.records import Message, Request, Response
from llm_eval.specs import Generation, JudgeSpec, Pairwise, Ranking

Order = Literal["as_is", "swapped"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a judge. `place`: the model's answer among those shown, from 0."""

    subject: Subject
    order: Order | None
    place: int
    request: Request


def asks_of(subject: Subject, judge: JudgeSpec, chat: bool) -> list[Ask]:
    """What the judge is asked about one answer: once, or once in each order."""
    return [_ask(subject, judge, chat, order) for order in _orders(subject, judge)]


def again(ask: Ask, reply: Response, reason: str, judge: JudgeSpec) -> Ask:
    """The same question with the unreadable reply and what is wrong with it. The judge asks again at all."""
    assert judge.ask_again is not None
    said, words = reply.text or "", templates.render(judge.ask_again, {"reason": reason})
    asked = ask.request
    if asked.messages is not None:
        turns = (*asked.messages, Message("assistant", said), Message("user", words))
        return replace(ask, request=_named(replace(asked, messages=turns)))
    return replace(ask, request=_named(replace(asked, text=f"{asked.text}{said}\n\n{words}\n")))


def generation_of(judge: JudgeSpec) -> Generation:
    """How the judge's replies are written; with a JSON schema where its verdict is structured."""
    if not judge.structured:
        return judge.generation
    return judge.generation.model_copy(update={"json_schema": schema_of(judge.verdict)})


def _orders(subject: Subject, judge: JudgeSpec) -> Iterator[Order | None]:
    verdict = judge.verdict
    if not isinstance(verdict, Pairwise | Ranking):
        yield None
    elif verdict.both_orders:
        yield from ("as_is", "swapped")
    else:
        yield "as_is" if _is_even(subject.sample.id) else "swapped"


def _ask(subject: Subject, judge: JudgeSpec, chat: bool, order: Order | None) -> Ask:
    everybody = [subject.answers, *(answers for _, answers in subject.others)]
    places = list(range(len(everybody)))
    if isinstance(judge.verdict, Ranking):  # the model's own place must tell nothing: drawn for each sample
        places.sort(key=lambda i: sha256_hex(f"{subject.sample.id} {i}".encode()))
    if order == "swapped":
        places.reverse()
    given = names(subject, [everybody[i] for i in places], judge.constants)
    system, prompt = templates.render(judge.system, given), templates.render(judge.template, given)
    messages = (*((Message("system", system),) if system.strip() else ()), Message("user", prompt))
    text = f"{system}\n\n{prompt}" if system.strip() else prompt
    blank = Request("", subject.sample.id, "generate")
    request = replace(blank, messages=messages) if chat else replace(blank, text=text)
    return Ask(subject, order, places.index(0), _named(request))


def _named(request: Request) -> Request:
    turns = None if request.messages is None else [(m.role, m.content) for m in request.messages]
    return replace(request, id=fingerprint(turns, request.text))


def _is_even(text: str) -> bool:
    return int(sha256_hex(text.encode())[:2], 16) % 2 == 0
