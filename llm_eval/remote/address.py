"""Which Airflow to speak to: the one that the environment names, else the one that runs from this checkout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import httpx

from llm_eval import settings, storage
from llm_eval.errors import InputError
from llm_eval.remote.client import AirflowClient

URL, USER, PASSWORD = "LLM_EVAL_AIRFLOW_URL", "LLM_EVAL_AIRFLOW_USER", "LLM_EVAL_AIRFLOW_PASSWORD"
RUNNING_FILE = "running.json"
"""In the home of a stack that is up: its address, and where the password of its user is."""


def connect(environment: Mapping[str, str]) -> AirflowClient:
    """A client of the Airflow that LLM_EVAL_AIRFLOW_URL, _USER and _PASSWORD name; without them, of `make up`'s.

    Raises InputError if there is neither, RunFailed if it does not answer or refuses the login.
    """
    if url := environment.get(URL):
        if missing := [name for name in (USER, PASSWORD) if not environment.get(name)]:
            raise InputError(f"{URL} names an Airflow; set {' and '.join(missing)} too")
        return AirflowClient(url.rstrip("/"), environment[USER], environment[PASSWORD])
    home = Path(environment.get("AIRFLOW_HOME") or settings.HOME / "var" / "airflow")
    for candidate in sorted(home.parent.glob(f"{home.name}*/{RUNNING_FILE}")):
        found = storage.read_json(str(candidate))
        if not _answers(found["url"]):
            continue  # it was killed, and could not take its address away
        password = json.loads((candidate.parent / found["passwords"]).read_text())[found["user"]]
        return AirflowClient(found["url"], found["user"], password)
    raise InputError(
        f"no Airflow to speak to: none runs from {home}. Start one with `make up`, or name yours in {URL}, {USER} and "
        f"{PASSWORD}."
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/monitor/health", timeout=5.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False
