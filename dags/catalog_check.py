"""No Airflow DAG at all: mistakes in the catalog become this file's import error, and cost no other file its DAGs."""

from airflow.sdk import get_parsing_context

from llm_eval.airflow.factory import check_catalog

if get_parsing_context().dag_id is None:
    check_catalog()
