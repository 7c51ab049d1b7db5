"""Sends a test message to every channel of a suite: `python -m llm_eval.airflow.try_channels nightly`.

Connections are looked up where Airflow's own commands do: variables AIRFLOW_CONN_…, then Airflow's database.
"""

from __future__ import annotations

import os
import sys

# Before Airflow is imported: it would take this for a worker, which asks a supervisor instead of the database.
os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")

from rich.console import Console

from llm_eval.airflow.channels import send
from llm_eval.airflow.messages import Message
from llm_eval.catalog import Catalog
from llm_eval.errors import InputError, LlmEvalError
from llm_eval.settings import Settings


def main(arguments: list[str]) -> int:
    console = Console(highlight=False)
    try:
        if len(arguments) != 1:
            raise InputError("give the name of one suite: python -m llm_eval.airflow.try_channels SUITE")
        suite = Catalog(Settings.from_environment(os.environ).catalogs).suite(arguments[0])
    except LlmEvalError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code
    if not suite.notify:
        console.print(f"suite {suite.name!r} tells nobody: it has no `notify`", markup=False)
        return 0
    message = Message("this is a test", (("suite", suite.name),), ("Nothing has happened.",))
    reasons = send(suite.notify, message)
    for channel, reason in reasons.items():
        told = f"not sent: {reason}" if reason else "sent"
        console.print(f"{channel.kind} (connection {channel.connection!r}): {told}", markup=False, soft_wrap=True)
    return 1 if any(reasons.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
