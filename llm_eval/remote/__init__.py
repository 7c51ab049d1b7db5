"""A running Airflow, spoken to from outside over REST: what the command line, the demo and the tests ask of it.

Nothing here imports Airflow.
"""
