"""Backfills of several DAGs, where Airflow's answer is lost on its way."""

import json
from datetime import UTC, datetime

import httpx
import pytest

from llm_eval.errors import InputError
from llm_eval.remote import backfill
from llm_eval.remote.client import AirflowClient

RANGE = backfill.Range(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC), {})


class Server:
    """Airflow's API as far as `start` asks; it allows one backfill per DAG, its first answer about `slow` is lost."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.cancelled: list[int] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        match request.method, request.url.path:
            case "POST", "/auth/token":
                return httpx.Response(201, json={"access_token": "x"})
            case "POST", "/api/v2/backfills":
                return self._made(json.loads(request.content)["dag_id"])
            case "GET", "/api/v2/backfills":
                asked = request.url.params["dag_id"]
                found = [{"id": number, "dag_id": d} for number, d in enumerate(self.made) if d == asked]
                return httpx.Response(200, json={"backfills": found, "total_entries": len(found)})
            case "PUT", path:
                self.cancelled.append(int(path.split("/")[-2]))
                return httpx.Response(200, json={})
            case _, "/api/v2/dags/~/dagRuns":
                runs = [{**RUN, "dag_id": dag_id} for dag_id in self.made]
                return httpx.Response(200, json={"dag_runs": runs, "total_entries": len(runs)})
        return httpx.Response(200, json={"is_paused": False})

    def _made(self, dag_id: str) -> httpx.Response:
        if dag_id in self.made:
            return httpx.Response(409, json={"detail": "There can be only one running backfill per DAG."})
        self.made.append(dag_id)
        if dag_id == "slow":
            raise httpx.ReadTimeout("the server goes on")
        return httpx.Response(200, json={"id": len(self.made) - 1})


RUN = {
    "dag_run_id": "r",
    "state": "queued",
    "queued_at": "2026-01-01",
    "start_date": None,
    "end_date": None,
    "run_after": "2026-01-01",
    "partition_key": "step-1",
}


@pytest.fixture
def server(monkeypatch) -> Server:
    made, client = Server(), httpx.Client
    transport = httpx.MockTransport(made.answer)
    monkeypatch.setattr(httpx, "Client", lambda **options: client(**{**options, "transport": transport}))
    monkeypatch.setattr("llm_eval.remote.client.PAUSES", (0.0,))
    return made


def test_a_backfill_whose_answer_was_lost_is_the_one_that_was_asked_for(server):
    started = backfill.start(AirflowClient("http://airflow", "u", "p"), ["quick", "slow"], RANGE)

    assert server.made == ["quick", "slow"]
    assert server.cancelled == []
    assert set(started) == {"quick · step-1", "slow · step-1"}


def test_somebody_elses_backfill_is_refused_and_what_was_started_is_cancelled(server):
    server.made.append("taken")
    with pytest.raises(InputError, match="taken has a backfill at work already"):
        backfill.start(AirflowClient("http://airflow", "u", "p"), ["quick", "taken"], RANGE)
    assert server.made == ["taken", "quick"]
    assert server.cancelled == [1]
