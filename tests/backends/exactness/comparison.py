"""Whether answers are those of the plain reading, and where not, what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llm_eval.records import Request, Response
from tests.backends.exactness.reference import Expected

NATS = 1e-4  # between log-probabilities of choices
OF_A_TEXT = 1e-4  # between log-probabilities of texts, relative to them
CLEAR = 1e-3  # nats by which a token or a choice must win for rounding to have no say

Answers = Mapping[tuple[str, int], Response]


def differences(
    found: Answers, requests: Sequence[Request], expected: Mapping[str, Expected], attempts: int = 1
) -> list[str]:
    """One line for each difference; nothing where every request is answered as expected at every attempt."""
    wanted = {(request.id, attempt) for request in requests for attempt in range(attempts)}
    lines = [f"{key}: not answered" for key in wanted - found.keys()]
    lines += [f"{key}: nobody asked" for key in found.keys() - wanted]
    kinds = {request.id: request.kind for request in requests}
    for id, attempt in sorted(wanted & found.keys()):
        pairs = _facts(kinds[id], found[id, attempt], expected[id])
        lines += [f"{id} {attempt}: {name} is {is_!r}, not {should!r}" for name, is_, should in pairs if is_ != should]
        lines += [f"{id} {attempt}: {line}" for line in _far_off(kinds[id], found[id, attempt], expected[id])]
    return lines


def _facts(kind: str, found: Response, expected: Expected) -> list[tuple[str, object, object]]:
    if found.error is not None or not expected.is_answerable:
        return [("answerable", found.error is None, expected.is_answerable)]
    facts: list[tuple[str, object, object]] = [
        ("shots", found.shots, expected.shots),
        ("input_tokens", found.input_tokens, expected.input_tokens),
        ("tokens", [one.tokens for one in found.likelihoods], [one.tokens for one in expected.likelihoods]),
        ("bytes", [one.bytes for one in found.likelihoods], [one.bytes for one in expected.likelihoods]),
    ]
    if kind == "generate" and expected.margin > CLEAR:
        facts += [
            ("text", found.text, expected.text),
            ("output_tokens", found.output_tokens, expected.output_tokens),
            ("finish_reason", found.finish_reason, expected.finish_reason),
        ]
    return facts


def _far_off(kind: str, found: Response, expected: Expected) -> list[str]:
    is_, should = logprobs(found), logprobs(expected)
    if found.error is not None or len(is_) != len(should):
        return []
    far = [
        f"log-probability {i} is {a:.6f}, not {b:.6f}"
        for i, (a, b) in enumerate(zip(is_, should, strict=True))
        if not abs(a - b) <= (NATS if kind == "choices" else OF_A_TEXT * abs(b))
    ]
    if kind == "choices" and best(found) != best(expected) and lead(expected) > CLEAR:
        far.append(f"choice {best(found)} wins, not {best(expected)}")
    return far


def logprobs(answer: Response | Expected) -> list[float]:
    return [one.logprob for one in answer.likelihoods]


def best(answer: Response | Expected) -> int:
    """Number of the likeliest choice."""
    return max(range(len(answer.likelihoods)), key=logprobs(answer).__getitem__)


def lead(expected: Expected) -> float:
    """Nats between the likeliest choice and the next one."""
    *_, second, first = sorted(logprobs(expected))
    return first - second
