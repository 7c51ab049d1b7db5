"""Airflow runs this file at the start of each of its processes, where the folder is on PYTHONPATH.

The scheduler forks the workers that fork the tasks, and so does a worker of Celery: what they have imported costs no
task anything, half a second of every stage. Only libraries, nothing of ours: tasks must see our code as it is, not as
it was when they began.
"""

# ruff: noqa: F401 - imported to be there
import sys

if {"scheduler", "worker"} & set(sys.argv):
    import fsspec.implementations.local
    import jinja2.sandbox
    import pyarrow.compute
    import pyarrow.parquet
    import pydantic.json_schema
    import rapidfuzz.distance
    import rapidfuzz.fuzz
    import tabulate  # Airflow's, for reading a DAG file
    import yaml
