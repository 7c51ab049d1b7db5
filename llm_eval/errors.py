"""Every error this project raises on purpose.

    LlmEvalError
    ├── InputError            exit code 2: what the user gave cannot work; a retry cannot mend it
    │   ├── UnknownName       no such dataset, model, suite, variant, metric, extractor
    │   ├── InvalidSpec       a catalog file or parameter breaks its schema
    │   ├── MissingSource     no source of a dataset is available, or a file of it is absent
    │   ├── InvalidData       the data breaks its own expectations, or cannot be read
    │   ├── MissingWeights    a model folder or hub id that does not exist
    │   └── UnsupportedRequest  the backend cannot answer this kind of request
    └── RunFailed             exit code 1: the run could not publish a score; of 3, no retry can help
        ├── BackendLost       exit code 75: the model's process or server went away (retryable)
        ├── StillWaiting      exit code 75: what was asked for is not there yet: look again later (retryable)
        ├── StorageError      exit code 75: reading or writing under the root failed (retryable)
        │   ├── NotThere      there is no such file
        │   └── UnusableRoot  exit code 2: the store refuses the root's address or the keys
        ├── IncompleteStage   a stage that this one reads from has not finished
        ├── TooManyFailures   more samples failed than `max_failed_fraction` allows
        ├── BudgetSpent       exit code 3: what the responses may cost is spent; only a higher budget mends it
        ├── EmptyScores       a mean of nothing was asked for
        ├── UntrustedJudge    exit code 3: a judge agrees with people less than its calibration asks for (no retry)
        └── GateFailed        a checkpoint has lost more than its suite's gate allows

The exit codes are a contract: whoever runs a stage as a process (a task's child, a pod) knows by them alone whether
another try can help. 75 is EX_TEMPFAIL of sysexits.h: "temporary failure; user is invited to retry".

A message names the thing, the value, where it came from, what was allowed, and the next step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

FAILED, BAD_INPUT, REFUSED, MAY_PASS = 1, 2, 3, 75
FINAL = frozenset({BAD_INPUT, REFUSED})
"""Exit codes after which trying the same again cannot help."""


class LlmEvalError(Exception):
    """Base of all errors raised on purpose; `str(error)` is fit to show a user."""

    exit_code: ClassVar[int] = FAILED


class InputError(LlmEvalError):
    exit_code = BAD_INPUT


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
    exit_code = MAY_PASS


class StillWaiting(RunFailed):
    """Nothing is wrong: a server is at work on what was handed in, and whoever asked did not want to wait."""

    exit_code = MAY_PASS

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds
        """Until it is worth looking again."""


class StorageError(RunFailed):
    exit_code = MAY_PASS


class NotThere(StorageError):
    pass


class UnusableRoot(StorageError):
    exit_code = BAD_INPUT
    retryable = False
    final = True


class IncompleteStage(RunFailed):
    pass


class TooManyFailures(RunFailed):
    pass


class BudgetSpent(RunFailed):
    exit_code = REFUSED


class EmptyScores(RunFailed):
    pass


class UntrustedJudge(RunFailed):
    exit_code = REFUSED


class GateFailed(RunFailed):
    pass
