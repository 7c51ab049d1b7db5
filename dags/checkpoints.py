"""The Airflow DAGs around checkpoints: discovery, one per model that starts everything, reports by suite and model."""

from airflow.sdk import get_parsing_context

from llm_eval.airflow.factory import checkpoint_dags

globals().update(checkpoint_dags(only=get_parsing_context().dag_id))
