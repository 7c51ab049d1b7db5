"""`docker compose run --rm demo`: `make demo` for the Airflow of the containers beside this one.

Arguments are those of `python -m llm_eval.demo`: `--steps 10` is a model that has learned nothing, in a few seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from llm_eval.airflow import demo
from llm_eval.airflow.home import USER
from llm_eval.catalog import Catalog
from llm_eval.errors import LlmEvalError
from llm_eval.remote.client import AirflowClient
from llm_eval.settings import Settings

AIRFLOW = "http://airflow-apiserver:8080"
UI = "`docker compose logs airflow-init` has its address, user and password"
WEIGHTS = "/models/demo"  # in the volume that Airflow's containers have, too


def main(arguments: list[str]) -> int:
    console = Console(highlight=False)
    training = [sys.executable, "-m", "llm_eval.demo", "--output", WEIGHTS, *arguments]
    if (trained := subprocess.run(training, check=False)).returncode != 0:
        return trained.returncode
    try:
        return evaluate(Settings.from_environment(os.environ), console)
    except LlmEvalError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code


def evaluate(settings: Settings, console: Console) -> int:
    catalog = Catalog(settings.catalogs)
    suite, found = catalog.suite(demo.SUITE), demo.trained(catalog, settings)
    passwords = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    client = AirflowClient(AIRFLOW, USER, json.loads(passwords.read_text())[USER])
    outcomes = demo.evaluate(client, suite, found, console)
    failed = [outcome for outcome in outcomes if outcome.reason]
    if len(failed) < len(outcomes):
        demo.show(settings, suite, found[-1], console, UI)
    for outcome in failed:
        console.print(f"failed: {outcome.label}: {outcome.reason}", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
