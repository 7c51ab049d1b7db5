"""How likely a server's model holds given texts: plain completions with `echo` and `logprobs`, as vLLM answers them.

The server's tokenizer is not known here. Where a continuation begins is found by the texts of the tokens; where those
do not add up to the prompt (a character cut into several tokens), by asking for the prompt alone and comparing tokens.
Not by `text_offset`, in which servers differ after a BOS and after a part of a character.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from llm_eval.backends.openai.answers import BrokenAnswer, IgnoredOption, usage_of
from llm_eval.backends.openai.bodies import echo
from llm_eval.backends.openai.generating import Send
from llm_eval.prompts import text_prompt
from llm_eval.records import Likelihood, Request, Response
from llm_eval.specs import OpenAIBackend

_SPECIALS = 2  # tokens before a text at most, such as a BOS


class Unscorable(Exception):
    """This one request has no log-likelihood; the message becomes its response's `error`."""


class Piece(NamedTuple):
    """One token. `logprob`: None for one that nothing stands before."""

    token: str
    logprob: float | None


@dataclass(frozen=True, slots=True)
class Echo:
    """A text as the server reads it.

    `specials`: so many of its first tokens are not of the text, as a BOS is none; None where the tokens' texts do not
    add up to it.
    """

    pieces: tuple[Piece, ...]
    specials: int | None

    def after(self, characters: int) -> tuple[Piece, ...] | None:
        """Tokens that reach beyond the first so many characters; None where that cannot be told.

        One token that spans the border counts: its probability is that of a part of the prompt too, but no character of
        the continuation goes without.
        """
        if self.specials is None:
            return None
        end = 0
        for place in range(self.specials, len(self.pieces)):
            end += len(self.pieces[place].token)
            if end > characters:
                return self.pieces[place:]
        return ()

    def unlike(self, other: Echo) -> tuple[Piece, ...]:
        """Tokens from the first one on that differs from those of `other`, a text that this one begins with."""
        pairs = zip(self.pieces, other.pieces, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a.token != b.token), len(other.pieces))
        return self.pieces[same:]


async def scored(send: Send, spec: OpenAIBackend, request: Request, shots: int) -> Response:
    """A request to the server for each continuation, and one more where that is needed to tell where they begin.

    Raises as `send` does, BrokenAnswer, IgnoredOption and Unscorable.
    """
    if not request.continuations:
        raise Unscorable("the request has no continuations to score")
    prompt, asked = text_prompt(request, shots), _Asked(send, spec)
    likelihoods = [await _likelihood(asked, request.kind == "choices", prompt, c) for c in request.continuations]
    return Response(
        request.id,
        likelihoods=tuple(likelihoods),
        shots=shots,
        input_tokens=asked.input_tokens,
        output_tokens=asked.output_tokens,
        finish_reason="scored",
        cost_usd=asked.cost_usd,
        request_seconds=asked.seconds,
    )


async def _likelihood(asked: _Asked, is_choice: bool, prompt: str, continuation: str) -> Likelihood:
    """As the transformers backend defines it, but for a token that spans the border (see `Echo.after`): blanks at the
    prompt's end belong to the continuation."""
    text = prompt + continuation
    whole = await asked.echo(text)
    if not is_choice:
        logprobs = [p.logprob for p in whole.pieces[1:]]
        if not logprobs or None in logprobs:
            raise Unscorable(f"the text {text!r} has {len(whole.pieces)} token(s) to the server; two are needed")
        return Likelihood(sum(x for x in logprobs if x is not None), len(whole.pieces), len(text.encode()))
    border = len(prompt.rstrip())
    own = whole.after(border)
    if own is None:
        own = whole.unlike(await asked.echo(text[:border])) if border else whole.pieces
    if not own or any(p.logprob is None for p in own):
        raise Unscorable(
            f"the server does not say how likely {continuation!r} is: the prompt is empty, and no BOS stands before it"
        )
    return Likelihood(sum(p.logprob or 0.0 for p in own), len(own), len(continuation.encode()))


class _Asked:
    """Texts that one request asks about, and what they took together."""

    def __init__(self, send: Send, spec: OpenAIBackend) -> None:
        self._send, self._spec = send, spec
        self._known: dict[str, Echo] = {}
        self.input_tokens = self.output_tokens = 0
        self.seconds = 0.0
        self.cost_usd: float | None = 0.0

    async def echo(self, text: str) -> Echo:
        if text not in self._known:
            answer = await self._send(echo(self._spec, text))
            usage = usage_of(answer.body)
            cost = usage.cost_usd(self._spec.price)
            self.input_tokens += usage.input
            self.output_tokens += usage.output
            self.seconds += answer.seconds or 0.0
            self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost
            self._known[text] = read_echo(answer.body, text)
        return self._known[text]


def read_echo(answer: Any, text: str) -> Echo:
    """Raises BrokenAnswer; IgnoredOption where the server repeats no prompt, or says nothing of its tokens."""
    try:
        choice = answer["choices"][0]
        said, logprobs = choice["text"], choice.get("logprobs")
        if not said.startswith(text):
            raise IgnoredOption("echo: the answer does not begin with the prompt")
        if not logprobs or not logprobs.get("token_logprobs"):
            raise IgnoredOption("logprobs: the answer comes without log-probabilities")
        tokens, values = logprobs["tokens"], logprobs["token_logprobs"]
        pieces = tuple(Piece(str(t), None if v is None else float(v)) for t, v in zip(tokens, values, strict=True))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BrokenAnswer(f"{type(error).__name__}: {error}") from error
    echo = _of_text(pieces, text, usage_of(answer).input)
    if all(piece.logprob is None for piece in echo.pieces[1:]):
        raise IgnoredOption("echo with logprobs: the prompt's tokens come without log-probabilities")
    return echo


def _of_text(pieces: tuple[Piece, ...], text: str, prompt_tokens: int) -> Echo:
    """Without the token that was written after the text; some servers leave one out that ends the answer."""
    told = prompt_tokens if 0 < prompt_tokens <= len(pieces) else len(pieces) - 1
    for count in dict.fromkeys((told, len(pieces) - 1, len(pieces))):
        for specials in range(min(_SPECIALS, count) + 1):
            if "".join(piece.token for piece in pieces[specials:count]) == text:
                return Echo(pieces[:count], specials)
    return Echo(pieces[:told], None)
