"""LLM evaluation as Airflow DAGs: catalog in, published Parquet out."""

__version__ = "0.1.0"
