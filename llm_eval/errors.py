"""Every error this project raises on purpose.

    LlmEvalError
    ├── InputError            exit code 2: what the user gave cannot work; a retry cannot mend it
    │   ├── UnknownName       no such dataset, model, suite, variant, metric, extractor
    │   ├── InvalidSpec       a catalog file or parameter breaks its schema
    │   ├── MissingSource     no source of a dataset is available, or a file of it is absent
    │   ├── InvalidData       the data breaks its own expectations, or cannot be read
    │   ├── MissingWeights    a model folder or hub id that does not exist
    │   └── UnsupportedRequest  the backend cannot answer this kind of request
    └── RunFailed             exit code 1: the run could not publish a score
        ├── BackendLost       the model's process or server went away (retryable)
        ├── StillWaiting      what was asked for is not there yet: look again later (retryable)
        ├── StorageError      reading or writing under the root failed (retryable)
        │   ├── NotThere      there is no such file
        │   └── UnusableRoot  exit code 2: the store refuses the root's address or the keys
        ├── IncompleteStage   a stage that this one reads from has not finished
        ├── TooManyFailures   more samples failed than `max_failed_fraction` allows
        ├── BudgetSpent       what the responses may cost is spent; only a higher budget mends it (no retry)
        ├── EmptyScores       a mean of nothing was asked for
        ├── UntrustedJudge    a judge agrees with people less than its calibration asks for (no retry)
        └── GateFailed        a checkpoint has lost more than its suite's gate allows

A message names the thing, the value, where it came from, what was allowed, and the next step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class LlmEvalError(Exception):
    """Base of all errors raised on purpose; `str(error)` is fit to show a user."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    final: ClassVar[bool] = False
    """Trying the same again cannot help."""


class InputError(LlmEvalError):
    exit_code = 2
    final = True


class UnknownName(InputError):
    """A name that nothing is registered under; the message lists close and known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        import difflib

        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
        meant = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
        shown = ", ".join(names[:20]) + (f" … ({len(names)} in all)" if len(names) > 20 else "")
        super().__init__(
            f"{kind} {name!r} is not known.{meant} Known: {shown or 'none'}." + (f" {hint}" if hint else "")
        )


class InvalidSpec(InputError):
    pass


class MissingSource(InputError):
    pass


class InvalidData(InputError):
    pass


class MissingWeights(InputError):
    pass


class UnsupportedRequest(InputError):
    pass


class RunFailed(LlmEvalError):
    pass


class BackendLost(RunFailed):
    retryable = True


class StillWaiting(RunFailed):
    """Nothing is wrong: a server is at work on what was handed in, and whoever asked did not want to wait."""

    retryable = True

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds
        """Until it is worth looking again."""


class StorageError(RunFailed):
    retryable = True


class NotThere(StorageError):
    pass


class UnusableRoot(StorageError):
    exit_code = 2
    retryable = False
    final = True


class IncompleteStage(RunFailed):
    pass


class TooManyFailures(RunFailed):
    pass


class BudgetSpent(RunFailed):
    final = True


class EmptyScores(RunFailed):
    pass


class UntrustedJudge(RunFailed):
    final = True


class GateFailed(RunFailed):
    pass
