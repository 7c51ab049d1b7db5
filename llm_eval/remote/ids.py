"""Names of DAGs, assets and runs. Pure: no Airflow.

Catalog names hold no underscore and a dataset's variant is appended with one, so two underscores separate safely.
"""

from __future__ import annotations

from typing import NamedTuple

from llm_eval.catalog import split_reference
from llm_eval.fingerprint import slug

SEPARATOR = "__"
DISCOVERY_DAG = "checkpoints"


class Pair(NamedTuple):
    """A model and a dataset reference (`name` or `name_variant`)."""

    model: str
    dataset: str


def judge_task_id(judge: str) -> str:
    return f"judge__{judge}"


def evaluation_dag_id(pair: Pair) -> str:
    return SEPARATOR.join(("eval", *pair))


def leaderboard_dag_id(suite: str) -> str:
    return SEPARATOR.join(("leaderboard", suite))


def human_dag_id(suite: str) -> str:
    return SEPARATOR.join(("human", suite))


def report_dag_id(suite: str, model: str) -> str:
    return SEPARATOR.join(("report", suite, model))


def checkpoint_dag_id(model: str) -> str:
    """The DAG that starts everything for a new checkpoint of a model."""
    return SEPARATOR.join(("checkpoint", model))


def checkpoint_asset_name(model: str) -> str:
    """The asset whose events, with a checkpoint as partition key, tell of new checkpoints."""
    return SEPARATOR.join(("checkpoint", model))


def checkpoint_asset_uri(model: str) -> str:
    return f"x-llm-eval://checkpoints/{model}"


def pair_of_dag(dag_id: str) -> Pair | None:
    """The pair that an evaluation DAG is about; None for any other DAG."""
    kind, *names = dag_id.split(SEPARATOR)
    return Pair(*names) if kind == "eval" and len(names) == len(Pair._fields) else None


def result_asset_name(pair: Pair) -> str:
    return SEPARATOR.join(("result", *pair))


def result_asset_uri(pair: Pair) -> str:
    # An `x-` scheme keeps Airflow's providers from rewriting the address.
    return f"x-llm-eval://results/{pair.model}/{pair.dataset}"


def suite_asset_name(suite: str) -> str:
    """The asset that every new result of the suite is an event of; its leaderboard follows it."""
    return SEPARATOR.join(("results", suite))


def suite_asset_uri(suite: str) -> str:
    return f"x-llm-eval://suites/{suite}"


def run_id_of(dag_run_id: str, pair: Pair) -> str:
    """The evaluation run that a DAG run stands for: always the same one, so that a retried plan writes the same run.

    The variant is part of it: results of all variants of a dataset lie in one folder, one file per run id, and two
    DAGs on one schedule have equal DAG run ids.
    """
    variant = split_reference(pair.dataset)[1]
    return slug(f"{dag_run_id}_{variant}" if variant else dag_run_id)
