"""Text to tokens and back, the same way wherever a model is asked."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from llm_eval.backends.transformers.anchors import Anchors
from llm_eval.records import Message

# Templates that ask for today's date get this one: a prompt must not depend on the day it is asked on.
_TEMPLATE_DATE = datetime.date(2024, 7, 26)
_DATE_CODES = ("%-d", "%d", "%b", "%B", "%m", "%y", "%Y", "%a", "%A", "%H", "%M", "%S")
# Stands before such a template and hides the library's own function, which nothing else can replace.
_CLOCK = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f"|replace('{c}', '{_TEMPLATE_DATE.strftime(c)}')" for c in _DATE_CODES)
    + " }}{%- endmacro +%}"
)

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_CONTEXT_OF_DECODING = 4  # tokens before the first decoded one, enough to see whether it begins a word


class Unanswerable(Exception):
    """This one request cannot be answered; the message becomes its response's `error`, and the rest goes on."""


class Pair(NamedTuple):
    """Tokens of a prompt, and of one continuation of it."""

    prompt: list[int]
    continuation: list[int]


class Tokens:
    """A tokenizer as prompts need it. scores_texts: whether the model says how likely the tokens are that it reads."""

    scores_texts: ClassVar[bool] = True

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        end = tokenizer.eos_token_id
        self._appends_end = end is not None and tokenizer.encode("a")[-1:] == [end]
        self._anchors = Anchors(tokenizer)

    def of_text(self, text: str) -> list[int]:
        """With the special tokens that the tokenizer puts before a text, without an end that it puts after it."""
        if self._anchors.works:
            return self._anchors.encode(text, special=True)
        ids: list[int] = self._tokenizer.encode(text, verbose=False)
        return ids[:-1] if self._appends_end else ids

    def of_bare(self, text: str) -> list[int]:
        """Without any special token that is not in the text itself."""
        if self._anchors.works:
            return self._anchors.encode(text, special=False)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return ids

    def conversation(self, messages: Sequence[Message]) -> str:
        """The chat template's text, up to where the assistant's turn begins. Raises Unanswerable if it refuses."""
        import jinja2

        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            template = self._tokenizer.get_chat_template()
            text: str = self._tokenizer.apply_chat_template(
                turns,
                chat_template=_CLOCK + template if "strftime_now" in template else template,
                add_generation_prompt=True,
                tokenize=False,
            )
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            roles = ", ".join(m.role for m in messages)
            raise Unanswerable(f"the chat template refuses this conversation (turns: {roles}): {error}") from error
        return text

    def first(self) -> list[int]:
        """What stands before the first token of a text without a prompt: BOS, else EOS. Raises Unanswerable."""
        for token in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
            if token is not None:
                return [token]
        raise Unanswerable("the prompt is empty, and the tokenizer has neither a BOS nor an EOS token to begin with")

    def opening(self, ids: list[int]) -> list[int]:
        """All that is read before an answer to a prompt of these tokens; never empty. Raises Unanswerable."""
        return ids or self.first()

    def context_needed(self, prompt: int, answer: int) -> int:
        """Tokens of context for a prompt of so many tokens (an `opening`) and so many of an answer."""
        return prompt + answer

    def pair(self, prompt: str, continuation: str) -> Pair:
        """Tokenised together and split after as many tokens as the prompt has alone; its trailing blanks move over.

        Source: lm-evaluation-harness, `TemplateLM._encode_pair`. Where the continuation vanishes into the prompt's
        last token, it is tokenised by itself instead: no tokens would be a certain answer.
        """
        stripped = prompt.rstrip()
        return self._split(self.of_text, stripped, prompt[len(stripped) :] + continuation)

    def chat_pair(self, conversation: str, continuation: str) -> Pair:
        """The same for a conversation, whose blanks belong to the template; an assistant's turn begins without one."""
        return self._split(self.of_bare, conversation, continuation.lstrip())

    def _split(self, encode: Any, prompt: str, continuation: str) -> Pair:
        before = encode(prompt)
        own = encode(prompt + continuation)[len(before) :] or self.of_bare(continuation)
        if not own:
            raise Unanswerable(f"the continuation {continuation!r} has no tokens")
        return Pair(self.opening(before), own)

    def decode(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """Text of `ids` where they follow `before`: some tokenizers drop a blank at the start of what they decode.

        A character that begins in `before` counts as text of `ids`.
        """
        begin = max(len(before) - _CONTEXT_OF_DECODING, 0)
        while begin > 0 and _BROKEN in self._plain([before[begin]]):  # in the middle of a character, maybe
            begin -= 1
        context = list(before[begin:])
        prefix, whole = self._plain(context).rstrip(_BROKEN), self._plain([*context, *ids])
        return whole[len(prefix) :] if whole.startswith(prefix) else self._plain(list(ids))

    def _plain(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def single(self, text: str) -> int | None:
        """The token that `text` is, if it is a control token of its own (such as an end of turn)."""
        token: int | None = self._tokenizer.get_added_vocab().get(text)
        return token


class EncoderDecoderTokens(Tokens):
    """For a model of two halves: one reads the prompt, the other writes after `start`, whatever the prompt ends with.

    A prompt is followed by the end that the tokenizer puts after a text, and by `start`; an answer is tokenised by
    itself. Source: lm-evaluation-harness, `TemplateLM._encode_pair` for models of AutoModelForSeq2SeqLM.
    """

    scores_texts: ClassVar[bool] = False

    def __init__(self, tokenizer: Any, start: int) -> None:
        super().__init__(tokenizer)
        self._start = start

    def opening(self, ids: list[int]) -> list[int]:
        """What the encoder reads, and last what the decoder begins with."""
        end = self._tokenizer.eos_token_id
        ended = [*ids, end] if self._appends_end and ids[-1:] != [end] else ids
        return [*(ended or self.first()), self._start]

    def context_needed(self, prompt: int, answer: int) -> int:
        """Each half has the context to itself; the last token of an answer is not read."""
        return max(prompt - 1, answer)

    def decode(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """Text of `ids` where they follow `before`; the prompt is another text."""
        begin = max((i + 1 for i, token in enumerate(before) if token == self._start), default=0)
        return super().decode(before[begin:], ids)

    def _split(self, encode: Any, prompt: str, continuation: str) -> Pair:
        own = self.of_bare(continuation)
        if not own:
            raise Unanswerable(f"the continuation {continuation!r} has no tokens")
        return Pair(self.opening(encode(prompt)), own)
