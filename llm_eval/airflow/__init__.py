"""The engine's side of the house: evaluations as DAGs. The only package that imports `airflow`."""
