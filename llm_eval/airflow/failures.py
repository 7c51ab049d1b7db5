"""Our errors in Airflow's words: bad input fails at once, all else is tried again, and the reason is the last line.

What passes with time, a root or a backend that is away, is tried for five minutes; so is a task that was killed. Other
failures (a crash, too many failed samples) are tried three times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.sdk.log import redact

from llm_eval.airflow.priorities import PRIORITY
from llm_eval.errors import FINAL, MAY_PASS, LlmEvalError

logger = logging.getLogger(__name__)

REASON_KEY = "reason"  # the XCom that a failed task leaves, for the message about its run
KILLED = "ended from outside: stopped by hand, or its worker was lost"


TRIES = 3  # of what may not pass


class MayPass(AirflowException):  # type: ignore[misc]
    """Storage or a backend is away."""


class Patience(RetryPolicy):  # type: ignore[misc]
    """Ends the tries of a failure that is not known to pass with time. Never asked about a task that was killed."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: object = None
    ) -> RetryDecision:
        if isinstance(exception, MayPass) or try_number < TRIES:
            return RetryDecision.default()
        return RetryDecision.fail(f"failed {try_number} times")


@contextmanager
def in_airflow_words() -> Iterator[None]:
    """Turns an error that is final into a failure without retries and every other one of ours into one with them."""
    try:
        yield
    except LlmEvalError as error:
        raise failure(error.exit_code, str(error)) from None


def failure(exit_code: int, reason: str) -> AirflowException:
    """What to raise for a stage that ended with this exit code, in this process, a child or a pod (see errors.py)."""
    if exit_code in FINAL:
        return AirflowFailException(reason)
    return MayPass(reason) if exit_code == MAY_PASS else AirflowException(reason)


def tell_reason(context: Mapping[str, Any]) -> None:
    """Ends the task's log with the reason, where a reader looks first: Airflow logs a traceback before it."""
    error = context.get("exception")
    if error is None:
        logger.error(KILLED)
    else:
        logger.error("%s", str(error) or type(error).__name__)


def leave_reason(context: Mapping[str, Any]) -> None:
    """`tell_reason` of a task that has failed for good, and the same for whoever is told that the run failed.

    Only errors raised on purpose are quoted: others may hold what a model wrote.
    """
    error = context.get("exception")
    if error is not None:
        reason = str(error) if isinstance(error, AirflowException) else f"{type(error).__name__}; its log says more"
        try:
            context["ti"].xcom_push(key=REASON_KEY, value=redact(reason))
        except Exception as lost:  # noqa: BLE001 - the log has the reason all the same
            logger.warning("the reason could not be left for a message: %s", lost)
    tell_reason(context)


RETRIES: dict[str, Any] = {
    "weight_rule": PRIORITY,
    "retries": 6,
    "retry_policy": Patience(),
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "on_failure_callback": leave_reason,
    "on_retry_callback": tell_reason,
}
"""Arguments of every task."""
