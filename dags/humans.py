"""The Airflow DAGs in which people are asked, one for each suite that asks any."""

from airflow.sdk import get_parsing_context

from llm_eval.airflow.factory import human_dags

globals().update(human_dags(only=get_parsing_context().dag_id))
