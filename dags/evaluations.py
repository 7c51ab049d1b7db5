"""One Airflow DAG per model and dataset that a suite of the catalog asks for: see llm_eval/airflow/factory.py.

Airflow gives the parse of one file 50 seconds, and a DAG costs it up to 50 ms. Beyond some 200 DAGs, copy this file to
evaluations_1.py, … and let PART be "0/2", "1/2", …: each file then holds the DAGs whose ids fall into its part.
"""

from airflow.sdk import get_parsing_context

from llm_eval.airflow.factory import evaluation_dags

PART = "0/1"

# A worker that runs one task builds that task's DAG alone; the DAG processor, which asks for none, builds them all.
globals().update(evaluation_dags(only=get_parsing_context().dag_id, part=PART))
