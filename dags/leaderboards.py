"""One Airflow DAG per suite that rebuilds the suite's leaderboard when results land."""

from airflow.sdk import get_parsing_context

from llm_eval.airflow.factory import leaderboard_dags

globals().update(leaderboard_dags(only=get_parsing_context().dag_id))
