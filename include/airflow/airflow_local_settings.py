"""Airflow runs this file at the start of each of its processes, where the folder is on PYTHONPATH."""

import sys

if {"scheduler", "worker", "dag-processor"} & set(sys.argv):
    from llm_eval.airflow import inheritance

    inheritance.bequeath(sys.argv)
