"""The tasks of a round of questions to people: pick the items, ask each of them, publish what was answered.

A round is under the root, what is shown apart from its key. XCom and the UI's lists see numbers of items alone, and
what is shown of a question is put together in its own task, after templates have been rendered: nothing that a model
wrote is ever a template.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import BaseOperator

from llm_eval.airflow.failures import in_airflow_words
from llm_eval.catalog import Catalog
from llm_eval.errors import InputError, StorageError
from llm_eval.settings import Settings
from llm_eval.specs import Human

if TYPE_CHECKING:
    from llm_eval.human.rounds import Round

logger = logging.getLogger(__name__)

PAUSES = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0)
MOST = 200
"""Questions of one round in the UI: each is a task of its own, and larger rounds are easier in a sheet."""


class PickOperator(BaseOperator):  # type: ignore[misc]
    """Picks a round; returns its questions, each the position of an item and, from 1, which of its raters is asked."""

    custom_operator_name = "Pick"
    template_fields = ("suite",)
    ui_color = "#e8eef9"

    def __init__(self, *, suite: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.suite = suite

    def execute(self, context: Mapping[str, Any]) -> list[str]:
        from llm_eval.human import rounds

        with in_airflow_words():
            settings = Settings.from_environment(os.environ)
            suite = Catalog(settings.catalogs).suite(self.suite)
            seed = context["params"].get("seed") or secrets.token_hex(8)
            name = rounds.name_of(context["dag_run"].run_id)
            made = rounds.start(settings, suite, name, seed, datetime.now(UTC))
            questions = [f"{item.position}/{rater}" for item in made.items for rater in range(1, made.human.raters + 1)]
            if len(questions) > MOST:
                raise InputError(
                    f"suite {suite.name!r}: {len(questions)} questions, and Airflow asks {MOST} of a round at most. "
                    f"Lower human.samples, or hand out sheets: llm-eval human export {suite.name}/{name} --output FILE"
                )
            return questions


class AskOperator(HITLOperator):  # type: ignore[misc]
    """Asks one rater about one item and records the answer; of one that does not come in time, or is skipped, nothing.

    question: POSITION/RATER, as PickOperator returns them.
    """

    custom_operator_name = "Ask"
    template_fields = ("suite", "question")
    ui_color = "#f3e8f9"

    def __init__(self, *, suite: str, human: Mapping[str, Any], question: str, **keywords: Any) -> None:
        from llm_eval.human import showing

        asked = Human.model_validate(human)
        super().__init__(
            subject="",
            options=list(showing.options(asked)),
            response_timeout=timedelta(hours=asked.hours),
            **keywords,
        )
        self.suite, self.human, self.question = suite, human, question

    def execute(self, context: Mapping[str, Any]) -> None:
        from llm_eval.human import rounds, showing

        with in_airflow_words():
            made = round_of(self.suite, context)
            position, rater = map(int, self.question.split("/"))
            items = made.items
            item = items[position - 1]
        self.subject = showing.subject(item, made.human, len(items))
        self.body = showing.body(item, made.human)
        self.options = list(showing.options(made.human))
        self.response_timeout = timedelta(hours=made.human.hours)
        self.assigned_users = [
            {"id": user, "name": user} for user in rounds.users_of(made.human, position, rater)
        ] or None
        super().execute(context)

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        if event.get("error_type") == "timeout":
            logger.warning("nobody answered within the time: the item counts as unanswered")
            return
        from llm_eval.human import rounds, showing
        from llm_eval.human.records import Answer

        answer = super().execute_complete(context, event)

        def record() -> None:
            made = round_of(self.suite, context)
            (chosen,) = answer["chosen_options"]
            user = answer["responded_by_user"] or {}
            recorded = Answer(
                item_id=made.items[int(self.question.split("/")[0]) - 1].id,
                rater=user.get("name") or user.get("id") or "unknown",
                answer=showing.options(made.human)[chosen],
                comment=str((answer["params_input"] or {}).get("comment") or ""),
                answered_at=answer["responded_at"].isoformat(),
                source="airflow",
                recorded_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            )
            rounds.add_answers(made, f"airflow-{self.question.replace('/', '-')}", [recorded])

        with in_airflow_words():
            patiently(record)


def round_of(suite: str, context: Mapping[str, Any]) -> Round:
    """The run's round. Raises StorageError, which is tried again, if it cannot be seen: Airflow knows it was picked."""
    from llm_eval.human import rounds

    root = Settings.from_environment(os.environ).root
    try:
        return rounds.find(root, f"{suite}/{rounds.name_of(context['dag_run'].run_id)}")
    except InputError as error:
        raise StorageError(f"{error} It was picked, but is not to be seen. Is the root there, and the same?") from error


def patiently(action: Callable[[], None], pauses: Sequence[float] = PAUSES) -> None:
    """Do what may fail because the root is away, for some minutes. A task that is tried again asks its question anew,
    and what was answered would be lost."""
    for pause in pauses:
        try:
            return action()
        except StorageError as error:
            logger.warning("tried again in %g s: %s", pause, error)
            time.sleep(pause)
    return action()


class CollectOperator(BaseOperator):  # type: ignore[misc]
    """Publishes the round's answers, and how far people and judges agree."""

    custom_operator_name = "Collect"
    template_fields = ("suite",)
    ui_color = "#f9f2e0"

    def __init__(self, *, suite: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.suite = suite

    def execute(self, context: Mapping[str, Any]) -> None:
        from llm_eval.human.report import render, report

        with in_airflow_words():
            made = round_of(self.suite, context)
            outcome = report(Settings.from_environment(os.environ).root, made)
        for line in render(made, outcome, "table").splitlines():
            logger.info("%s", line)
