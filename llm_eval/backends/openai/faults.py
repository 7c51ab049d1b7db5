"""What an error of the SDK means: try again, give up this sample, or stop."""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, Literal

from llm_eval.backends.openai.answers import BrokenAnswer, IgnoredOption
from llm_eval.backends.openai.likelihoods import Unscorable

SHOWN = 400
BUSY = frozenset({429, 503, 529})
_CONTEXT = ("context_length", "context length", "maximum context", "too many tokens", "max_model_len", "too long")
_PAID = ("insufficient_quota", "billing", "exceeded your current quota")

Kind = Literal["again", "away", "busy", "too long", "sample", "ignored", "stop"]
MAY_PASS: frozenset[Kind] = frozenset({"again", "away", "busy"})


@dataclass(frozen=True, slots=True)
class Fault:
    """again, away (no answer at all), busy: may pass. too long: the prompt does not fit. sample: this one cannot be
    had. ignored: the server has answered without an option that it was given. stop: none can be had.

    `wait_seconds`: how long the server asked to wait, if it did.
    """

    kind: Kind
    words: str
    wait_seconds: float | None = None


def fault_of(error: Exception) -> Fault:
    """Of any exception that asking raised; re-raises what is no fault of the server's."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _status(error.status_code, _words(error), error.response.headers, str(error.code or ""))
    if isinstance(error, openai.APIConnectionError):  # time-outs too: what the cause is called differs by transport
        cause = error.__cause__ or error
        return Fault("away", f"no answer ({type(cause).__name__}: {str(cause)[:SHOWN]})")
    if isinstance(error, TimeoutError):
        return Fault("away", "no whole answer within the time for one (timeout_seconds)")
    if isinstance(error, IgnoredOption):
        return Fault("ignored", f"the server ignores {error}")
    if isinstance(error, Unscorable):
        return Fault("sample", str(error))
    if isinstance(error, openai.APIError | BrokenAnswer | JSONDecodeError):
        return Fault("again", f"an answer that is not of OpenAI's form ({type(error).__name__}: {str(error)[:SHOWN]})")
    raise error


def fault_of_status(status: Any, body: Any) -> Fault:
    """Of an answer that came in a file: its HTTP status and its body."""
    error = body.get("error") if isinstance(body, dict) else None
    told = error if isinstance(error, dict) else {}
    words = " ".join(str(told.get("message") or error or body).split())[:SHOWN]
    return _status(status if isinstance(status, int) else 500, words, {}, str(told.get("code") or ""))


def _status(status: int, words: str, headers: Any, code: str) -> Fault:
    said = f"{code} {words}".lower()
    if status == 429 and any(sign in said for sign in _PAID):
        return Fault("stop", f"{status}: {words}")
    if status in BUSY:
        return Fault("busy", f"{status}: {words}", retry_after(headers))
    if status in (408, 409, 425) or status >= 500:
        return Fault("again", f"{status}: {words}", retry_after(headers))
    if status in (400, 413, 422) and any(sign in said for sign in _CONTEXT):
        return Fault("too long", f"{status}: {words}")
    if "content_filter" in said or "content_policy" in said:
        return Fault("sample", f"{status}: {words}")
    return Fault("stop", f"{status}: {words}")


def _words(error: Any) -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(said or error.response.text or error.response.reason_phrase).split())[:SHOWN]


def retry_after(headers: Any) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as a date (RFC 9110)."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        said = headers.get("retry-after")
        if said is None:
            return None
        if said.strip().replace(".", "", 1).isdigit():
            return float(said)
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
