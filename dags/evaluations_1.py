"""An eighth of the evaluation DAGs, one per model and dataset: their ids decide which."""

from airflow.sdk import get_parsing_context

from llm_eval.airflow.factory import evaluation_dags

# A worker that runs one task builds that task's DAG alone; the DAG processor, which asks for none, builds them all.
globals().update(evaluation_dags(part="1/8", only=get_parsing_context().dag_id))
