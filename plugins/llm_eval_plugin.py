"""Adds the leaderboards to Airflow's UI, and makes our timetables and priorities known to all of its processes.

Every Airflow process executes this file, each task's included, so it imports next to nothing: the pages load with their
first visitor, the registry of checkpoints with the first question to the timetable.
"""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from llm_eval.airflow.priorities import ByHandFirst
from llm_eval.airflow.timetables import CheckpointTimetable, CronTimetable


async def leaderboards(scope: Any, receive: Any, send: Any) -> None:
    from llm_eval.airflow.web import app

    await app(scope, receive, send)


class LlmEvalPlugin(AirflowPlugin):
    name = "llm_eval"
    timetables = [CheckpointTimetable, CronTimetable]  # noqa: RUF012
    priority_weight_strategies = [ByHandFirst]  # noqa: RUF012
    fastapi_apps = [{"app": leaderboards, "url_prefix": "/llm-eval", "name": "LLM leaderboards"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "LLM leaderboards",
            "href": "/llm-eval/",
            "destination": "nav",
            "url_route": "llm-leaderboards",
            "nav_top_level": True,
        }
    ]
